//! `detach`: everything of an instance removed, and what it changed put back.

use super::apply::{Executor, Report};
use super::attach::heir;
use super::error::Error;
use super::observe::{Scope, Seen, observe};
use super::trap::Trap;
use super::turn::Turn;
use crate::fault::Fault;
use crate::plan;
use crate::spec;
use crate::state::{self, Found, Instance, read_name};

/// What is to be detached.
#[derive(Clone, Debug)]
pub enum Target {
    /// The instance that has an uplink of this name; with the second, only that instance.
    Device(String, Option<spec::Instance>),
    /// One instance, whatever is left of it.
    Instance {
        /// Its name.
        name: spec::Instance,
        /// Also when nobody can tell from here whether it lives.
        force: bool,
    },
    /// Every instance of this namespace, and those that are certain to be dead.
    All,
}

/// Removes the target.
///
/// # Errors
/// When there is nothing of the kind, or a step fails; the same command then goes on from there.
pub async fn detach(target: &Target, dry_run: bool) -> Result<Report, Error> {
    let turn = Turn::take(dry_run)?;
    let (netlink, dry_run) = (&turn.netlink, turn.dry_run);
    let mut trap = Trap::set();
    let mut report = Report { applied: !dry_run, ..Report::default() };
    let chosen = choose(target, &observe(netlink, Scope::Instances).await?)?;
    for name in &chosen {
        // Looked at anew each time: one removal may hand its sysctls to the next.
        let seen = observe(netlink, Scope::Instances).await?;
        let Some(found) = seen.instances.get(name).map(Found::instance) else { continue };
        let plan = plan::remove(found, &seen.host, heir(found, &seen));
        if !dry_run {
            let mut executor = Executor::new(netlink, &seen.host, name);
            executor.run(&plan, &mut trap).await?;
        }
        report.notes.extend(remark(target, found, chosen.len(), dry_run));
        report.add(plan);
    }
    Ok(report)
}

/// What is worth saying about one of the instances that go.
fn remark(target: &Target, found: &Instance, all: usize, dry_run: bool) -> Option<String> {
    let name = &found.name;
    let uplinks: Vec<_> = found.uplinks().map(|(_, link)| read_name(&link.name)).collect();
    match target {
        Target::Device(..) | Target::All if uplinks.is_empty() => {
            let also = if all > 1 { "also " } else { "" };
            let (removed, was) = if dry_run {
                (format!("would {also}remove"), "is")
            } else {
                (format!("{also}removed"), "was")
            };
            Some(format!(
                "{removed} what {was} left of instance '{name}', whose making was cut short"
            ))
        }
        Target::Device(..) | Target::All if all > 1 || uplinks.len() > 1 => {
            Some(format!("instance '{name}' on {}", uplinks.join(" and ")))
        }
        Target::Device(..) | Target::All | Target::Instance { .. } => None,
    }
}

/// Names of the instances that are meant.
fn choose(target: &Target, seen: &Seen) -> Result<Vec<spec::Instance>, Fault> {
    match target {
        Target::All => {
            let names = within_reach(seen, |_| true);
            if names.is_empty() { Err(Fault::Nothing) } else { Ok(names) }
        }
        Target::Instance { name, force } => {
            let found = named(name, seen)?;
            match state::elsewhere(found, &seen.host) {
                Some(Fault::UnseenNamespace(_)) if *force => Ok(vec![name.clone()]),
                Some(fault) => Err(fault),
                None => Ok(vec![name.clone()]),
            }
        }
        Target::Device(device, Some(name)) => {
            let found = named(name, seen)?;
            match state::elsewhere(found, &seen.host) {
                Some(fault) => Err(fault),
                None if is_meant(found, device, seen) => Ok(vec![name.clone()]),
                None => {
                    Err(Fault::NotAttached { device: device.clone(), instance: name.to_string() })
                }
            }
        }
        Target::Device(device, None) => {
            let names = within_reach(seen, |found| is_meant(found, device, seen));
            if names.is_empty() { Err(Fault::NothingOn(device.clone())) } else { Ok(names) }
        }
    }
}

fn named<'a>(name: &spec::Instance, seen: &'a Seen) -> Result<&'a Instance, Fault> {
    let found = seen.instances.get(name).map(Found::instance);
    found.ok_or_else(|| Fault::NoInstance(name.to_string()))
}

/// Those that pass and neither live nor may live in another namespace.
fn within_reach(seen: &Seen, passes: impl Fn(&Instance) -> bool) -> Vec<spec::Instance> {
    let all = seen.instances.iter().map(|(name, found)| (name, found.instance()));
    let near = all.filter(|(_, found)| state::elsewhere(found, &seen.host).is_none());
    near.filter(|(_, found)| passes(found)).map(|(name, _)| name.clone()).collect()
}

/// Whether the device, by its present name or the one it was attached under, is an uplink. What
/// was cut short before its uplink was written has none, and goes with any.
fn is_meant(instance: &Instance, device: &str, seen: &Seen) -> bool {
    instance.uplinks().next().is_none()
        || instance.uplinks().any(|(index, link)| {
            let was = read_name(&link.name);
            let now = seen.host.name_of(index, &was);
            device == if instance.is_dead(&seen.host) { was } else { now }
        })
}
