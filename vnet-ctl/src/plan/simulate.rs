//! A model of the world that steps can be tried on: for `--dry-run`, and for proving in tests
//! that a second plan is empty.

use vnet_common::policy::{Outside, Sysctl};

use super::step::{Entry, Plan, Step};
use crate::spec::{self, sorter_device};
use crate::state::{
    self, Device, Filter, Forwarding, Host, IP_FORWARD, Instance, Layout, Running, Way,
    conf_device, without,
};

/// One namespace and one instance in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct World {
    /// The namespace.
    pub host: Host,
    /// Name of the instance.
    pub name: spec::Instance,
    /// The instance, if there is one.
    pub instance: Option<Instance>,
}

impl World {
    /// Runs every step of a plan.
    pub fn run(&mut self, plan: &Plan) {
        for planned in &plan.steps {
            self.step(&planned.step);
        }
    }

    /// Runs one step.
    pub fn step(&mut self, step: &Step) {
        match step {
            Step::MakeDirectory => self.instance = Some(Instance::empty(self.name.clone())),
            Step::RemoveDirectory => self.instance = None,
            Step::SetSysctl(name, value) => self.set_sysctl(name, *value),
            Step::AddClsact(index) => {
                self.host.tc.entry(*index).or_default().qdisc = Some("clsact".to_owned());
            }
            Step::RemoveClsact(index) => self.host.tc.entry(*index).or_default().qdisc = None,
            Step::MakeSorter(index, _) => self.make_sorter(*index),
            Step::RemoveSorter => self.remove_sorter(),
            Step::MakeMaps(_)
            | Step::FillPools
            | Step::CarryMaps(_)
            | Step::PutBackMaps
            | Step::CarryCounters
            | Step::ForgetFormerMaps
            | Step::RemoveMaps
            | Step::HandSysctl(..)
            | Step::PutOutside(..)
            | Step::PutSource(..)
            | Step::DropSource(_)
            | Step::PutExclusion(_)
            | Step::DropExclusion(_)
            | Step::PutPrefix6(..)
            | Step::DropPrefix6(_)
            | Step::PutUplink6(..)
            | Step::DropUplink6(_)
            | Step::PutLink(..)
            | Step::DropLink(_)
            | Step::NoteRule(_)
            | Step::ForgetRule(_)
            | Step::SetForwards(_)
            | Step::TakePorts(..)
            | Step::GivePorts(_)
            | Step::FillPeers
            | Step::AttachCalls
            | Step::DetachCalls
            | Step::WriteConfig(_)
            | Step::RememberSysctl(..)
            | Step::ForgetSysctl(_)
            | Step::LoadPrograms(_)
            | Step::PutBackPrograms
            | Step::UnpinPrograms
            | Step::Attach(..)
            | Step::Replace(..)
            | Step::Detach(..) => self.step_inside(step),
        }
    }

    fn step_inside(&mut self, step: &Step) {
        self.step_filter(step);
        let Some(instance) = &mut self.instance else { return };
        match step {
            Step::PutOutside(number, outside) if *outside == Outside::default() => {
                instance.outsides.remove(number);
            }
            Step::PutOutside(number, outside) => _ = instance.outsides.insert(*number, *outside),
            Step::PutSource(net, source) => _ = instance.sources.insert(*net, *source),
            Step::DropSource(net) => _ = instance.sources.remove(net),
            Step::PutExclusion(net) => _ = instance.exclusions.insert(*net),
            Step::DropExclusion(net) => _ = instance.exclusions.remove(net),
            Step::PutPrefix6(net, to) => _ = instance.prefixes6.insert(*net, *to),
            Step::DropPrefix6(net) => _ = instance.prefixes6.remove(net),
            Step::PutUplink6(index, uplink) => _ = instance.uplinks6.insert(*index, *uplink),
            Step::DropUplink6(index) => _ = instance.uplinks6.remove(index),
            Step::PutLink(index, link) => _ = instance.links.insert(*index, *link),
            Step::DropLink(index) => _ = instance.links.remove(index),
            Step::NoteRule(rule) => {
                instance.forwarding.rules.insert(rule.forward.id, *rule);
                rules_changed(instance);
            }
            Step::ForgetRule(id) => {
                instance.forwarding.rules.remove(id);
                rules_changed(instance);
            }
            Step::SetForwards(entries) => set_forwards(instance, entries),
            Step::TakePorts(ports, _) => instance.forwarding.reserved.push(*ports),
            Step::GivePorts(ports) => {
                let left = without(&instance.forwarding.reserved, &[*ports]);
                instance.forwarding.reserved = left;
            }
            Step::CarryMaps(_) => instance.layout = Layout::Mixed,
            Step::PutBackMaps => instance.layout = Layout::Older,
            Step::ForgetFormerMaps => instance.layout = Layout::Own,
            Step::AttachCalls => instance.calls = Some(Running::Current),
            Step::DetachCalls => instance.calls = None,
            Step::WriteConfig(config) => instance.config = *config,
            Step::RememberSysctl(name, sysctl) => remember(instance, name, *sysctl),
            Step::ForgetSysctl(name) => _ = instance.sysctls.remove(name),
            Step::LoadPrograms(_) => {
                instance.programs = true;
                for running in instance.hooks.values_mut() {
                    *running = Running::Old;
                }
                instance.calls = instance.calls.map(|_| Running::Old);
            }
            Step::UnpinPrograms => instance.programs = false,
            Step::Attach(index, hook, _) | Step::Replace(index, hook, _) => {
                instance.hooks.insert((*index, *hook), Running::Current);
            }
            Step::Detach(index, hook, _) => _ = instance.hooks.remove(&(*index, *hook)),
            Step::MakeDirectory
            | Step::MakeSorter(..)
            | Step::RemoveSorter
            | Step::MakeMaps(_)
            | Step::CarryCounters
            | Step::FillPools
            | Step::FillPeers
            | Step::HandSysctl(..)
            | Step::SetSysctl(..)
            | Step::PutBackPrograms
            | Step::AddClsact(_)
            | Step::RemoveClsact(_)
            | Step::RemoveMaps
            | Step::RemoveDirectory => {}
        }
    }

    /// What attaching and detaching by `clsact` does to the filters of the device.
    fn step_filter(&mut self, step: &Step) {
        let (Step::Attach(index, hook, way) | Step::Detach(index, hook, way)) = step else {
            return;
        };
        let Way::Clsact { priority, handle } = *way else { return };
        let filters = &mut self.host.tc.entry(*index).or_default().filters;
        filters.retain(|filter| {
            (filter.hook, filter.priority, filter.handle) != (*hook, priority, handle)
        });
        if let Step::Attach(..) = step {
            let (hook, kind, name) = (*hook, "bpf".to_owned(), format!("vnet_{hook}"));
            filters.push(Filter { hook, priority, handle, kind, name, program: None });
        }
    }

    fn make_sorter(&mut self, index: u32) {
        let name = sorter_device(&self.name);
        let (mac, header) = (vnet_common::fragment::SORTER_MAC, Some(14));
        let device = Device { name, header, mac, up: true, ..Device::default() };
        self.host.devices.insert(index, device);
        self.host.sorters.insert(self.name.clone());
        self.see_sorter();
    }

    fn remove_sorter(&mut self) {
        let name = sorter_device(&self.name);
        self.host.devices.retain(|_, device| device.name != name);
        self.host.sorters.remove(&self.name);
        self.see_sorter();
    }

    fn see_sorter(&mut self) {
        if let Some(instance) = &mut self.instance {
            instance.sorter = state::sorter(&self.name, &self.host);
        }
    }

    /// As the kernel does: writing `ip_forward` resets every device (`inet_forward_change`).
    fn set_sysctl(&mut self, name: &str, value: i32) {
        let changed = self.host.sysctls.insert(name.to_owned(), value) != Some(value);
        if name == IP_FORWARD && changed {
            for (name, device) in &mut self.host.sysctls {
                if conf_device(name).is_some() {
                    *device = value;
                }
            }
        }
    }
}

fn set_forwards(instance: &mut Instance, entries: &[Entry]) {
    for Entry { table, span, after, .. } in entries {
        match after {
            Some(after) => _ = instance.forwarding.entries.insert((*table, *span), *after),
            None => _ = instance.forwarding.entries.remove(&(*table, *span)),
        }
    }
}

/// Which ports rules cover follows from them.
fn rules_changed(instance: &mut Instance) {
    let rules = instance.forwarding.rules.clone();
    instance.forwarding.covered = Forwarding::of(rules, &instance.outsides).covered;
}

fn remember(instance: &mut Instance, name: &str, sysctl: Sysctl) {
    instance.sysctls.insert(name.to_owned(), sysctl);
}
