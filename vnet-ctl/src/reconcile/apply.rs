//! Executing steps, and taking them back when one fails.

use tracing::debug;
use vnet_common::policy::Config;

use super::error::Error;
use super::ports::Hands;
use super::sorter;
use super::trap::Trap;
use crate::bpf::{self, Carried, Former, Loaded, Maps, Pins, Sizes, Tables};
use crate::netlink::Netlink;
use crate::plan::{Entry, Plan, Planned, Step};
use crate::proc::sysctl::Sysctls;
use crate::spec::{self, sorter_device};
use crate::state::{Change, Host, Way};

/// What a command did, or would do.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// The steps.
    pub steps: Vec<Step>,
    /// Whether they were executed.
    pub applied: bool,
    /// What is different in an instance that ran before, one line each.
    pub changes: Vec<Change>,
    /// Whether it ran before: it is changed or repaired in place, not made.
    pub in_place: bool,
    /// What was left alone, and why.
    pub warnings: Vec<String>,
    /// What else is worth saying.
    pub notes: Vec<String>,
}

/// Executes the steps of one instance.
pub(super) struct Executor<'a> {
    netlink: &'a Netlink,
    host: Host,
    instance: spec::Instance,
    pins: Pins,
    sysctls: Sysctls,
    former: Option<Former>,
    carried: Carried,
    /// The clock runs by programs that have been put away again.
    strange_clock: bool,
    ports: Hands,
    undoing: bool,
}

impl<'a> Executor<'a> {
    pub(super) fn new(netlink: &'a Netlink, host: &Host, instance: &spec::Instance) -> Self {
        Self {
            netlink,
            host: host.clone(),
            instance: instance.clone(),
            pins: Pins::of(instance),
            sysctls: Sysctls::default(),
            former: None,
            carried: Carried::default(),
            strange_clock: false,
            ports: Hands::default(),
            undoing: false,
        }
    }

    /// Executes a plan; when a step fails, takes back those before it.
    pub(super) async fn run(&mut self, plan: &Plan, trap: &mut Trap) -> Result<(), Error> {
        for (done, planned) in plan.steps.iter().enumerate() {
            debug!("{}", planned.step);
            let result = match trap.step() {
                Ok(()) => self.step(&planned.step).await,
                Err(fault) => Err(fault),
            };
            if let Err(first) = result {
                return Err(first.stuck(self.undo(plan, done).await));
            }
        }
        Ok(())
    }

    /// Takes back the first `done` steps of a plan, last first; the failed one too, when it makes
    /// several things and may have made some of them. (Any other has done nothing, and to take
    /// back what it found in its way would be to remove somebody else's.) What cannot be taken back
    /// is told.
    async fn undo(&mut self, plan: &Plan, done: usize) -> Vec<String> {
        self.undoing = true;
        let mut then = Vec::new();
        let failed = plan.steps[done..].iter().take(1).filter(|planned| makes_many(&planned.step));
        for planned in failed.chain(plan.steps[..done].iter().rev()) {
            let Some(undo) = &planned.undo else { continue };
            debug!("taking back: {undo}");
            if let Err(error) = self.step(undo).await {
                then.push(error.to_string());
            }
        }
        self.undoing = false;
        then.extend(self.raise_epoch(&plan.steps[..done]).err().map(|error| error.to_string()));
        then
    }

    /// What a connection learnt under the epoch that was taken back must not pass for what is true
    /// under a later one, nor what it learnt while that was being done.
    fn raise_epoch(&self, done: &[Planned]) -> Result<(), Error> {
        let before = done.iter().find_map(|planned| match planned.undo {
            Some(Step::WriteConfig(before)) if before.version != 0 => Some(before),
            _ => None,
        });
        let Some(before) = before else { return Ok(()) };
        // The next attach has to load the programs, for their clock's sake.
        let build = if self.strange_clock { 0 } else { before.build };
        let config = Config { epoch: before.epoch.wrapping_add(2), build, ..before };
        Ok(Maps::of(&self.pins).write_config(&config)?)
    }

    async fn step(&mut self, step: &Step) -> Result<(), Error> {
        let maps = Maps::of(&self.pins);
        match step {
            Step::MakeDirectory => self.pins.make()?,
            Step::MakeMaps(config) => {
                let silent = Sizes { log_level: 0, telling: 0, ..config.into() };
                drop(Loaded::load(silent, Some(&self.pins))?);
            }
            Step::FillPools => maps.fill_pools()?,
            Step::CarryMaps(config) => self.carried = bpf::carry(&self.pins, config.into())?,
            Step::PutBackMaps => bpf::put_back(&self.pins, &mut self.carried)?,
            Step::CarryCounters => bpf::carry_counters(&self.pins, &self.carried)?,
            Step::ForgetFormerMaps => bpf::forget_former(&self.pins, &mut self.carried)?,
            Step::MakeSorter(index, seconds) => {
                let what = (*index, *seconds);
                sorter::make(self.netlink, &self.host, &self.instance, what).await?;
            }
            Step::RemoveSorter => {
                sorter::remove(self.netlink, &self.host, &self.instance).await?;
            }
            Step::PutOutside(number, outside) => maps.put_outside(*number, outside)?,
            Step::PutSource(net, source) => maps.put_source(*net, *source)?,
            Step::DropSource(net) => maps.drop_source(*net)?,
            Step::PutExclusion(net) => maps.put_exclusion(*net)?,
            Step::DropExclusion(net) => maps.drop_exclusion(*net)?,
            Step::PutPrefix6(net, to) => maps.put_prefix6(*net, *to)?,
            Step::DropPrefix6(net) => maps.drop_prefix6(*net)?,
            Step::PutUplink6(index, uplink) => maps.put_uplink6(*index, uplink)?,
            Step::DropUplink6(index) => maps.drop_uplink6(*index)?,
            Step::PutLink(index, link) => maps.put_link(*index, link)?,
            Step::DropLink(index) => maps.drop_link(*index)?,
            Step::NoteRule(rule) => maps.put_rule(rule)?,
            Step::ForgetRule(id) => maps.drop_rule(*id)?,
            Step::SetForwards(entries) => {
                for Entry { table, span, after, .. } in entries {
                    maps.set_forward(*table, span, after.as_ref())?;
                }
            }
            Step::TakePorts(ports, grip) => self.ports.take(&self.pins, *ports, *grip)?,
            Step::GivePorts(ports) => self.ports.give(&self.pins, *ports)?,
            Step::FillPeers => Tables::of(self.pins.clone()).fill_peers()?,
            Step::AttachCalls => bpf::attach_calls(&self.pins)?,
            Step::DetachCalls => bpf::detach_calls(&self.pins)?,
            Step::WriteConfig(config) => maps.write_config(config)?,
            Step::RememberSysctl(name, sysctl) => maps.put_sysctl(name, sysctl)?,
            Step::HandSysctl(name, sysctl, heir) => {
                Maps::of(&Pins::of(heir)).put_sysctl(name, sysctl)?;
            }
            Step::ForgetSysctl(name) => maps.drop_sysctl(name)?,
            Step::SetSysctl(name, value) => {
                let set = self.sysctls.write(name, *value);
                set.map_err(|error| Error::io(format!("set {name} to {value}"), error))?;
            }
            Step::LoadPrograms(config) => self.load(config)?,
            Step::PutBackPrograms => {
                if let Some(former) = &mut self.former {
                    former.put_back(&self.pins)?;
                    self.strange_clock = true;
                }
            }
            Step::UnpinPrograms => self.pins.remove_programs()?,
            Step::AddClsact(index) => self.netlink.add_clsact(*index).await?,
            Step::RemoveClsact(index) => self.netlink.remove_clsact(*index).await?,
            Step::Attach(index, hook, way) => {
                self.attach(*index, *hook, *way)?;
            }
            Step::Replace(index, hook, way) => self.replace(*index, *hook, *way)?,
            Step::Detach(index, hook, Way::Tcx | Way::Xdp { .. }) => {
                bpf::detach(&self.pins, *index, *hook)?;
            }
            Step::Detach(index, hook, Way::Clsact { priority, handle }) => {
                self.netlink.remove_filter(*index, *hook, *priority, *handle).await?;
            }
            Step::RemoveMaps => self.pins.remove_maps()?,
            Step::RemoveDirectory => self.pins.remove_dir()?,
        }
        Ok(())
    }

    /// The programs are pinned last: a pinned program has been verified and its clock runs.
    fn load(&mut self, config: &Config) -> Result<(), Error> {
        self.former = Some(Former::of(&self.pins));
        let mut loaded = Loaded::load(config.into(), Some(&self.pins))?;
        loaded.load_programs()?;
        loaded.start_clock()?;
        Ok(loaded.pin_programs(&self.pins)?)
    }

    fn attach(&mut self, index: u32, hook: spec::Hook, way: Way) -> Result<(), Error> {
        let name = self.name(index);
        match &mut self.former {
            Some(former) if self.undoing => {
                former.attach(&self.pins, (index, &name), hook, way)?;
            }
            Some(_) | None => bpf::attach(&self.pins, (index, &name), hook, way)?,
        }
        Ok(())
    }

    fn replace(&mut self, index: u32, hook: spec::Hook, way: Way) -> Result<(), Error> {
        let name = self.name(index);
        match &mut self.former {
            Some(former) if self.undoing => {
                former.replace(&self.pins, (index, &name), hook, way)?;
            }
            Some(_) | None => bpf::replace(&self.pins, (index, &name), hook, way)?,
        }
        Ok(())
    }

    fn name(&self, index: u32) -> String {
        // The one device that is made on the way was not there to be seen.
        self.host.name_of(index, &sorter_device(&self.instance))
    }
}

/// What a command has done so far, over all of its instances.
pub(super) struct Done<'a> {
    trap: Trap,
    parts: Vec<(Executor<'a>, Plan)>,
}

impl<'a> Done<'a> {
    /// Nothing yet.
    pub(super) fn nothing() -> Self {
        Self { trap: Trap::set(), parts: Vec::new() }
    }

    /// Executes a plan.
    pub(super) async fn run(
        &mut self,
        mut executor: Executor<'a>,
        plan: &Plan,
    ) -> Result<(), Error> {
        executor.run(plan, &mut self.trap).await?;
        self.parts.push((executor, plan.clone()));
        Ok(())
    }

    /// Takes everything back, last first, after a failure.
    pub(super) async fn take_back(self, first: Error) -> Error {
        let mut then = Vec::new();
        for (mut executor, plan) in self.parts.into_iter().rev() {
            then.extend(executor.undo(&plan, plan.steps.len()).await);
        }
        first.stuck(then)
    }
}

/// Whether a step makes more than one thing, so that it can fail half-way.
const fn makes_many(step: &Step) -> bool {
    matches!(
        step,
        Step::MakeMaps(_)
            | Step::LoadPrograms(_)
            | Step::FillPools
            | Step::CarryMaps(_)
            | Step::SetForwards(_)
            | Step::MakeSorter(..)
            | Step::AttachCalls
    )
}
