//! The plan that makes an instance, or changes a running one in place.

use vnet_common::policy::{Config, Link, Outside, Sysctl, config_flag, filtering, link_flag};

use super::forward;
use super::remove::{clsact_goes, link_of};
use super::step::{Grip, Plan, Step};
use crate::spec::Hook;
use crate::state::{
    Host, IP_FORWARD, Instance, LIBERAL, Layout, Running, Way, conf_device, hooks as hooks_of,
    takes_shortcuts,
};

/// Steps from `found` (nothing, or a complete and living instance) to `wanted`.
#[must_use]
pub fn build(wanted: &Instance, found: Option<&Instance>, host: &Host) -> Plan {
    let mut plan = Plan::default();
    let fresh = Instance::empty(wanted.name.clone());
    let before = found.unwrap_or(&fresh);
    if found.is_none() {
        plan.push(Step::MakeDirectory, Step::RemoveDirectory);
        plan.push(Step::MakeMaps(wanted.config), Step::RemoveMaps);
        plan.push_final(Step::FillPools);
    }
    if before.layout == Layout::Older {
        plan.push(Step::CarryMaps(before.config), Step::PutBackMaps);
    }
    if let Some(index) = wanted.sorter.filter(|_| wanted.sorter != before.sorter) {
        plan.push(Step::MakeSorter(index, wanted.config.fragments), Step::RemoveSorter);
    }
    put_tables(&mut plan, wanted, before);
    if found.is_none() {
        // From here on the instance is complete; what follows is remembered in it.
        plan.push(Step::WriteConfig(wanted.config), Step::WriteConfig(fresh.config));
    }
    remember(&mut plan, wanted, before);
    let_pass(&mut plan, wanted, host);
    programs(&mut plan, wanted, before);
    hooks(&mut plan, wanted, before, host);
    put_exits(&mut plan, wanted, before);
    // Nobody from inside is forwarded before there is somebody to translate.
    let_forward(&mut plan, wanted, before, host);
    drop_rest(&mut plan, wanted, before, host);
    forward::change(&mut plan, &wanted.forwarding, &before.forwarding, |_| Grip::Loose);
    forward::calls(&mut plan, wanted, before);
    if found.is_some() && (!plan.steps.is_empty() || !same_config(&wanted.config, &before.config)) {
        // Last: the datapath sees the new epoch only when everything it stands for is there.
        let config = Config { epoch: before.config.epoch.wrapping_add(1), ..wanted.config };
        let peers = begins_by_address(&wanted.config, &before.config);
        if peers {
            plan.push_final(Step::FillPeers);
        }
        plan.push(Step::WriteConfig(config), Step::WriteConfig(before.config));
        if peers {
            // Once more for those who came while the datapath did not count peers yet.
            plan.push_final(Step::FillPeers);
        }
    }
    forward::settle(&mut plan, &wanted.forwarding, &before.forwarding);
    if before.layout != Layout::Own {
        plan.push_final(Step::ForgetFormerMaps);
    }
    plan
}

/// Whether it begins to matter who talks to whom; until then the datapath does not count.
fn begins_by_address(wanted: &Config, before: &Config) -> bool {
    let by_address = |config: &Config| config.filtering == filtering::ADDRESS_DEPENDENT;
    by_address(wanted) && !by_address(before)
}

fn same_config(wanted: &Config, found: &Config) -> bool {
    Config { epoch: 0, ..*wanted } == Config { epoch: 0, ..*found }
}

/// Entries that are new or different.
fn put_tables(plan: &mut Plan, wanted: &Instance, before: &Instance) {
    for (number, outside) in &wanted.outsides {
        let old = before.outsides.get(number).copied();
        if old != Some(*outside) {
            let undo = Step::PutOutside(*number, old.unwrap_or_default());
            plan.push(Step::PutOutside(*number, *outside), undo);
        }
    }
    for (net, action) in &wanted.sources {
        let old = before.sources.get(net);
        if old != Some(action) {
            let undo = old.map_or(Step::DropSource(*net), |old| Step::PutSource(*net, *old));
            plan.push(Step::PutSource(*net, *action), undo);
        }
    }
    for net in wanted.exclusions.difference(&before.exclusions) {
        plan.push(Step::PutExclusion(*net), Step::DropExclusion(*net));
    }
    for (net, to) in &wanted.prefixes6 {
        let old = before.prefixes6.get(net);
        if old != Some(to) {
            let undo = old.map_or(Step::DropPrefix6(*net), |old| Step::PutPrefix6(*net, *old));
            plan.push(Step::PutPrefix6(*net, *to), undo);
        }
    }
    for (index, uplink) in &wanted.uplinks6 {
        let old = before.uplinks6.get(index);
        if old != Some(uplink) {
            let undo = old.map_or(Step::DropUplink6(*index), |old| Step::PutUplink6(*index, *old));
            plan.push(Step::PutUplink6(*index, *uplink), undo);
        }
    }
    for (index, link) in &wanted.links {
        let old = before.links.get(index);
        let link = without_new_exit(link, old);
        if old != Some(&link) {
            let undo = old.map_or(Step::DropLink(*index), |old| Step::PutLink(*index, *old));
            plan.push(Step::PutLink(*index, link), undo);
        }
    }
}

/// A link that was there, as it is while programs change: what XDP may send out by does not grow before
/// the programs that may are in place, for those of the mode before may not.
fn without_new_exit(link: &Link, old: Option<&Link>) -> Link {
    let new = old.map_or(0, |old| link.flags & !old.flags & link_flag::EXIT);
    Link { flags: link.flags & !new, ..*link }
}

/// Lets XDP send by what is new to it.
fn put_exits(plan: &mut Plan, wanted: &Instance, before: &Instance) {
    for (index, link) in &wanted.links {
        let first = without_new_exit(link, before.links.get(index));
        if first != *link {
            plan.push(Step::PutLink(*index, *link), Step::PutLink(*index, first));
        }
    }
}

/// The sysctls that are not remembered yet.
fn new_sysctls<'a>(
    wanted: &'a Instance,
    before: &Instance,
) -> impl Iterator<Item = (&'a String, &'a Sysctl)> {
    wanted.sysctls.iter().filter(|(name, _)| !before.sysctls.contains_key(*name))
}

/// Everything is remembered before `ip_forward` is written, because that resets the others.
fn remember(plan: &mut Plan, wanted: &Instance, before: &Instance) {
    for (name, sysctl) in new_sysctls(wanted, before) {
        plan.push(Step::RememberSysctl(name.clone(), *sysctl), Step::ForgetSysctl(name.clone()));
    }
}

/// Connection tracking is told that it will not see all segments of a connection.
fn let_pass(plan: &mut Plan, wanted: &Instance, host: &Host) {
    let wants = takes_shortcuts(&wanted.links) && wanted.sysctls.contains_key(LIBERAL);
    if wants && host.sysctls.get(LIBERAL) == Some(&0) {
        plan.push(Step::SetSysctl(LIBERAL.to_owned(), 1), Step::SetSysctl(LIBERAL.to_owned(), 0));
    }
}

fn let_forward(plan: &mut Plan, wanted: &Instance, before: &Instance, host: &Host) {
    if host.sysctls.get(IP_FORWARD) != Some(&0) {
        return;
    }
    // Undone last to first: ip_forward falls back to 0, then those that forwarded alone rise.
    let others = new_sysctls(wanted, before).filter(|(name, _)| conf_device(name).is_some());
    for (name, sysctl) in others {
        plan.push(
            Step::SetSysctl(name.clone(), sysctl.set),
            Step::SetSysctl(name.clone(), sysctl.before),
        );
    }
    let name = IP_FORWARD.to_owned();
    plan.push(Step::SetSysctl(name.clone(), 1), Step::SetSysctl(name, 0));
}

/// What programs are loaded with.
const fn said(config: &Config) -> (u32, u32, u32) {
    (config.log_level, config.flags & config_flag::EVENTS, config.port_block)
}

fn programs(plan: &mut Plan, wanted: &Instance, before: &Instance) {
    let same = before.programs
        && before.layout == Layout::Own
        && wanted.config.build == before.config.build
        && said(&before.config) == said(&wanted.config);
    if !same {
        if before.programs {
            // Nobody knows whose the pinned programs are while they change one by one.
            let unknown = Config { build: 0, ..before.config };
            plan.push(Step::WriteConfig(unknown), Step::WriteConfig(before.config));
        }
        let undo = if before.programs { Step::PutBackPrograms } else { Step::UnpinPrograms };
        plan.push(Step::LoadPrograms(wanted.config), undo);
        if before.layout == Layout::Older {
            plan.push_final(Step::CarryCounters);
        }
    }
    for ((index, hook), running) in &before.hooks {
        let stays = wanted.hooks.contains_key(&(*index, *hook));
        let outdated = match running {
            Running::Current => !same,
            Running::Old => true,
            Running::Gone => false,
        };
        if stays && outdated {
            let way = Way::of(&link_of(before, *index), *hook);
            // Taken back after the former programs are pinned again it would be the same step;
            // the order of undoing is the reverse, so the executor keeps the former ones open.
            plan.push(Step::Replace(*index, *hook, way), Step::Replace(*index, *hook, way));
        }
    }
}

/// Hooks that are missing, last of all.
fn hooks(plan: &mut Plan, wanted: &Instance, before: &Instance, host: &Host) {
    for (index, link) in &wanted.links {
        let has_qdisc = host.tc.get(index).is_some_and(|tc| tc.qdisc.is_some());
        if link.flags & link_flag::CLSACT != 0 && !has_qdisc {
            plan.push(Step::AddClsact(*index), Step::RemoveClsact(*index));
        }
        for hook in hooks_of(link).iter().copied() {
            let way = Way::of(link, hook);
            let was = Way::of(&link_of(before, *index), hook);
            match before.hooks.get(&(*index, hook)) {
                Some(Running::Current | Running::Old) if was != way => {
                    plan.push(Step::Detach(*index, hook, was), Step::Attach(*index, hook, was));
                }
                Some(Running::Current | Running::Old) => continue,
                Some(Running::Gone) => plan.push_final(Step::Detach(*index, hook, way)),
                None => {}
            }
            plan.push(Step::Attach(*index, hook, way), Step::Detach(*index, hook, way));
        }
    }
}

/// What is there and no longer wanted, in the reverse order of its making.
fn drop_rest(plan: &mut Plan, wanted: &Instance, before: &Instance, host: &Host) {
    let unwanted = |index: &u32, hook: Option<Hook>| match hook {
        Some(hook) => !wanted.hooks.contains_key(&(*index, hook)),
        None => !wanted.links.contains_key(index),
    };
    for ((index, hook), running) in &before.hooks {
        if unwanted(index, Some(*hook)) {
            let way = Way::of(&link_of(before, *index), *hook);
            let step = Step::Detach(*index, *hook, way);
            match running {
                Running::Gone => plan.push_final(step),
                Running::Current | Running::Old => {
                    plan.push(step, Step::Attach(*index, *hook, way));
                }
            }
        }
    }
    for (index, link) in before.links.iter().filter(|(index, _)| unwanted(index, None)) {
        if clsact_goes(before, *index, host) {
            plan.push(Step::RemoveClsact(*index), Step::AddClsact(*index));
        }
        plan.push(Step::DropLink(*index), Step::PutLink(*index, *link));
    }
    if let (None, Some(index)) = (wanted.sorter, before.sorter) {
        plan.push(Step::RemoveSorter, Step::MakeSorter(index, before.config.fragments));
    }
    let outsides = before.outsides.iter();
    for (number, outside) in outsides.filter(|(number, _)| !wanted.outsides.contains_key(number)) {
        let nobody = Outside::default();
        plan.push(Step::PutOutside(*number, nobody), Step::PutOutside(*number, *outside));
    }
    for net in before.exclusions.difference(&wanted.exclusions) {
        plan.push(Step::DropExclusion(*net), Step::PutExclusion(*net));
    }
    for (net, action) in &before.sources {
        if !wanted.sources.contains_key(net) {
            plan.push(Step::DropSource(*net), Step::PutSource(*net, *action));
        }
    }
    for (net, to) in &before.prefixes6 {
        if !wanted.prefixes6.contains_key(net) {
            plan.push(Step::DropPrefix6(*net), Step::PutPrefix6(*net, *to));
        }
    }
    for (index, uplink) in &before.uplinks6 {
        if !wanted.uplinks6.contains_key(index) {
            plan.push(Step::DropUplink6(*index), Step::PutUplink6(*index, *uplink));
        }
    }
}
