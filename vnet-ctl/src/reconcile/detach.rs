//! `detach`: everything of an instance removed, and what it changed put back.

use super::apply::{Executor, Report};
use super::attach::heir;
use super::error::Error;
use super::observe::{Seen, observe};
use super::trap::Trap;
use crate::bpf::{self, Lock};
use crate::fault::Fault;
use crate::netlink::Netlink;
use crate::plan;
use crate::proc::privilege::Capabilities;
use crate::spec;
use crate::state::{Found, Instance, read_name};

/// What is to be detached.
#[derive(Clone, Debug)]
pub enum Target {
    /// The instance whose uplink has this name; with the second, only that instance.
    Device(String, Option<spec::Instance>),
    /// One instance, whatever is left of it.
    Instance(spec::Instance),
    /// Every instance of this namespace, and those whose namespace is gone.
    All,
}

/// Removes the target.
///
/// # Errors
/// When there is nothing of the kind, or a step fails; the same command then goes on from there.
pub async fn detach(target: &Target, dry_run: bool) -> Result<Report, Error> {
    let missing = Capabilities::current().missing();
    if !missing.is_empty() {
        return Err(Fault::Permission { missing: missing.join(" and ") }.into());
    }
    bpf::reach()?;
    if !bpf::is_mounted() {
        return Err(Fault::Nothing.into());
    }
    let netlink = Netlink::open()?;
    let dry_run = dry_run || Trap::lists();
    let _lock = if dry_run { None } else { Some(Lock::take()?) };
    let mut trap = Trap::set();
    let mut report = Report { applied: !dry_run, ..Report::default() };
    let chosen = choose(target, &observe(&netlink, &[]).await?)?;
    for name in chosen {
        // Looked at anew each time: one removal may hand its sysctls to the next.
        let seen = observe(&netlink, &[]).await?;
        let Some(found) = seen.instances.get(&name).map(Found::instance) else { continue };
        let plan = plan::remove(found, &seen.host, heir(found, &seen));
        if !dry_run {
            let mut executor = Executor::new(&netlink, &seen.host, &name, 0);
            executor.run(&plan, &mut trap).await?;
        }
        report.notes.push(format!("instance '{name}'"));
        report.add(plan);
    }
    Ok(report)
}

/// Names of the instances that are meant.
fn choose(target: &Target, seen: &Seen) -> Result<Vec<spec::Instance>, Fault> {
    let here = |instance: &Instance| {
        let netns = instance.config.netns;
        netns == seen.host.netns || netns == 0 || instance.is_dead(&seen.host)
    };
    match target {
        Target::All => {
            let all = seen.instances.iter().filter(|(_, found)| here(found.instance()));
            let names: Vec<_> = all.map(|(name, _)| name.clone()).collect();
            if names.is_empty() { Err(Fault::Nothing) } else { Ok(names) }
        }
        Target::Instance(name) => match seen.instances.get(name).map(Found::instance) {
            None => Err(Fault::NoInstance(name.to_string())),
            Some(found) if !here(found) => Err(Fault::OtherNamespace(name.to_string())),
            Some(_) => Ok(vec![name.clone()]),
        },
        Target::Device(device, Some(name)) => match seen.instances.get(name).map(Found::instance) {
            None => Err(Fault::NoInstance(name.to_string())),
            Some(found) if !here(found) => Err(Fault::OtherNamespace(name.to_string())),
            Some(found) if is_meant(found, device, seen) => Ok(vec![name.clone()]),
            Some(_) => {
                Err(Fault::NotAttached { device: device.clone(), instance: name.to_string() })
            }
        },
        Target::Device(device, None) => {
            let of = seen.instances.iter().filter(|(_, found)| {
                here(found.instance()) && is_meant(found.instance(), device, seen)
            });
            let names: Vec<_> = of.map(|(name, _)| name.clone()).collect();
            if names.is_empty() { Err(Fault::NothingOn(device.clone())) } else { Ok(names) }
        }
    }
}

/// Whether the device, by its present name or the one it was attached under, is the uplink. What
/// was cut short before its uplink was written has none, and goes with any.
fn is_meant(instance: &Instance, device: &str, seen: &Seen) -> bool {
    instance.uplink().is_none_or(|(index, link)| {
        let was = read_name(&link.name);
        let now = seen.host.name_of(index, &was);
        device == if instance.is_dead(&seen.host) { was } else { now }
    })
}
