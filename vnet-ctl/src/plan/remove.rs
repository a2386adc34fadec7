//! The plan that removes an instance, as much of it as there is.

use vnet_common::policy::{Link, Sysctl, link_flag};

use super::step::{Plan, Step};
use crate::state::{Host, IP_FORWARD, Instance, LIBERAL, Way, conf_device, has_sorter};

/// Steps that remove `found` and put back what it changed. `heir` is another living instance of
/// the same namespace, which still needs the sysctls as they are.
///
/// The steps have no undo: each is safe to repeat, so after a failure the same command goes on.
#[must_use]
pub fn remove(found: &Instance, host: &Host, heir: Option<&Instance>) -> Plan {
    let mut plan = Plan::default();
    let here = found.config.netns == host.netns;
    // First of all: nobody from inside is forwarded any more when nothing translates.
    match heir {
        _ if !here => plan.warnings.extend(out_of_reach(found)),
        Some(heir) => hand_sysctls(&mut plan, found, heir),
        None => put_back_sysctls(&mut plan, found, host),
    }
    if found.calls.is_some() {
        plan.push_final(Step::DetachCalls);
    }
    for (index, hook) in found.hooks.keys() {
        let way = Way::of(&link_of(found, *index), *hook);
        plan.push_final(Step::Detach(*index, *hook, way));
    }
    for index in found.links.keys().filter(|index| here && clsact_goes(found, **index, host)) {
        plan.push_final(Step::RemoveClsact(*index));
    }
    if has_sorter(found, host) {
        plan.push_final(Step::RemoveSorter);
    }
    if found.programs {
        plan.push_final(Step::UnpinPrograms);
    }
    plan.push_final(Step::RemoveMaps);
    plan.push_final(Step::RemoveDirectory);
    plan
}

/// What was changed in another namespace, where nothing can be put back from here.
fn out_of_reach(found: &Instance) -> Option<String> {
    let names: Vec<_> = found.sysctls.keys().map(String::as_str).collect();
    let forgotten = format!(
        "instance '{}' was made in another network namespace: if that still lives, it keeps {} \
         as attach set it",
        found.name,
        names.join(", ")
    );
    (!names.is_empty()).then_some(forgotten)
}

/// The record of a link; an empty one when it is not known any more.
pub(super) fn link_of(instance: &Instance, index: u32) -> Link {
    instance.links.get(&index).copied().unwrap_or_default()
}

/// Whether the `clsact` qdisc is ours and nobody else uses it now.
pub(super) fn clsact_goes(found: &Instance, index: u32, host: &Host) -> bool {
    let link = link_of(found, index);
    let Some(tc) = host.tc.get(&index) else { return false };
    let others = tc.filters.iter().any(|filter| {
        let ours = Way::of(&link, filter.hook)
            == Way::Clsact { priority: filter.priority, handle: filter.handle };
        !ours
    });
    link.flags & link_flag::CLSACT_OURS != 0 && tc.qdisc.as_deref() == Some("clsact") && !others
}

fn hand_sysctls(plan: &mut Plan, found: &Instance, heir: &Instance) {
    for (name, sysctl) in &found.sysctls {
        if !heir.sysctls.contains_key(name) {
            plan.push_final(Step::HandSysctl(name.clone(), *sysctl, heir.name.clone()));
        }
        plan.push_final(Step::ForgetSysctl(name.clone()));
    }
}

/// Puts `ip_forward` back, then each device that forwarded alone. What somebody else has changed
/// since is theirs and stays. `ip_forward` is forgotten last: while it is remembered, a removal
/// that was cut short knows that the others are still to be put back.
fn put_back_sysctls(plan: &mut Plan, found: &Instance, host: &Host) {
    let now = |name: &str| host.sysctls.get(name).copied();
    let untouched = |name: &str, sysctl: &Sysctl| now(name) == Some(sysctl.set);
    let forward = found.sysctls.get(IP_FORWARD);
    let ours = forward.is_some_and(|forward| untouched(IP_FORWARD, forward));
    let back = forward.is_some_and(|forward| now(IP_FORWARD) == Some(forward.before));
    if let (Some(forward), true) = (forward, ours) {
        plan.push_final(Step::SetSysctl(IP_FORWARD.to_owned(), forward.before));
    } else if forward.is_some() && !back {
        plan.warnings.push(format!("{IP_FORWARD} was changed by somebody else and stays as it is"));
    }
    if let Some(liberal) = found.sysctls.get(LIBERAL) {
        if untouched(LIBERAL, liberal) {
            plan.push_final(Step::SetSysctl(LIBERAL.to_owned(), liberal.before));
        }
        plan.push_final(Step::ForgetSysctl(LIBERAL.to_owned()));
    }
    for (name, sysctl) in found.sysctls.iter().filter(|(name, _)| conf_device(name).is_some()) {
        let there = host.sysctls.contains_key(name);
        if there && (back || ours && untouched(name, sysctl)) {
            plan.push_final(Step::SetSysctl(name.clone(), sysctl.before));
        }
        plan.push_final(Step::ForgetSysctl(name.clone()));
    }
    if forward.is_some() {
        plan.push_final(Step::ForgetSysctl(IP_FORWARD.to_owned()));
    }
}
