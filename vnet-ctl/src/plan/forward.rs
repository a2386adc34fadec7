//! The part of a plan that is about forwards.
//!
//! Order is data here, too. A rule says that it is coming or going before anything is done about it,
//! and is settled after the epoch was raised: whoever finds one that is neither knows that packets
//! may still go where they went before.

use std::collections::BTreeMap;

use vnet_common::forward::{Rule, rule_state};
use vnet_common::policy::Config;

use super::step::{Entry, Grip, Plan, Step};
use crate::state::{Forwarding, Instance, Running, without};

/// Steps that change nothing of an instance but its forwards. `grip` holds for the ports of rules
/// that are new or different.
#[must_use]
pub fn forward(wanted: &Instance, before: &Instance, grip: impl Fn(u32) -> Grip) -> Plan {
    let mut plan = Plan::default();
    change(&mut plan, &wanted.forwarding, &before.forwarding, grip);
    calls(&mut plan, wanted, before);
    if !plan.steps.is_empty() {
        let config = Config { epoch: before.config.epoch.wrapping_add(1), ..before.config };
        plan.push(Step::WriteConfig(config), Step::WriteConfig(before.config));
    }
    settle(&mut plan, &wanted.forwarding, &before.forwarding);
    plan
}

/// The programs on the calls of this host's own sockets, which come when there is something to lead
/// them by.
pub(super) fn calls(plan: &mut Plan, wanted: &Instance, before: &Instance) {
    let loaded = plan.steps.iter().any(|planned| matches!(planned.step, Step::LoadPrograms(_)));
    match (wanted.calls, before.calls) {
        (Some(_), Some(Running::Current)) if !loaded => {}
        // The former ones did the same, and what is not current is replaced by whoever comes next.
        (Some(_), Some(_)) => plan.push_final(Step::AttachCalls),
        (Some(_), None) => plan.push(Step::AttachCalls, Step::DetachCalls),
        (None, Some(_)) => plan.push(Step::DetachCalls, Step::AttachCalls),
        (None, None) => {}
    }
}

/// Everything but the settling of rules, which follows when the epoch has been raised.
pub(super) fn change(
    plan: &mut Plan,
    wanted: &Forwarding,
    before: &Forwarding,
    grip: impl Fn(u32) -> Grip,
) {
    let entries = entries(wanted, before);
    for rule in
        wanted.rules.values().filter(|rule| !settled(rule, before) || touched(rule, &entries))
    {
        let id = rule.forward.id;
        let undo = before.rules.get(&id).map_or(Step::ForgetRule(id), |old| Step::NoteRule(*old));
        plan.push(Step::NoteRule(Rule { state: rule_state::COMING, ..*rule }), undo);
    }
    for (_, old) in gone(wanted, before).filter(|(_, old)| old.state != rule_state::GOING) {
        plan.push(Step::NoteRule(Rule { state: rule_state::GOING, ..*old }), Step::NoteRule(*old));
    }
    if !entries.is_empty() {
        let back = entries.iter().map(|entry| Entry {
            before: entry.after,
            after: entry.before,
            ..entry.clone()
        });
        let undo = Step::SetForwards(back.collect());
        plan.push(Step::SetForwards(entries), undo);
    }
    ports(plan, wanted, before, grip);
}

/// Ports are taken when the forward is there to cover them, and given back when it is gone: see
/// `put_back` in the datapath.
fn ports(plan: &mut Plan, wanted: &Forwarding, before: &Forwarding, grip: impl Fn(u32) -> Grip) {
    let before_covered: Vec<_> = before.covered.iter().map(|(_, ports)| *ports).collect();
    let wanted_covered: Vec<_> = wanted.covered.iter().map(|(_, ports)| *ports).collect();
    for (id, covered) in &wanted.covered {
        for new in without(&[*covered], &before_covered) {
            plan.push(Step::TakePorts(new, grip(*id)), Step::GivePorts(new));
        }
        for loose in before.loose.iter().filter(|loose| loose.is_within(covered)) {
            plan.push(Step::TakePorts(*loose, Grip::Loose), Step::GivePorts(*loose));
        }
    }
    for ports in without(&before.reserved, &wanted_covered) {
        plan.push(Step::GivePorts(ports), Step::TakePorts(ports, Grip::Loose));
    }
}

/// Rules that came stay, and those that went are forgotten.
pub(super) fn settle(plan: &mut Plan, wanted: &Forwarding, before: &Forwarding) {
    let coming = |step: &Step| {
        if let Step::NoteRule(rule) = step { Some(*rule) } else { None }
    };
    let noted = plan.steps.iter().filter_map(|planned| coming(&planned.step));
    let coming = noted.filter(|rule| rule.state == rule_state::COMING);
    let coming: Vec<_> = coming.map(|rule| rule.forward.id).collect();
    for rule in coming.iter().filter_map(|id| wanted.rules.get(id)) {
        let undo = Step::NoteRule(Rule { state: rule_state::COMING, ..*rule });
        plan.push(Step::NoteRule(*rule), undo);
    }
    for (id, old) in gone(wanted, before) {
        let undo = Step::NoteRule(Rule { state: rule_state::GOING, ..*old });
        plan.push(Step::ForgetRule(*id), undo);
    }
}

fn settled(rule: &Rule, before: &Forwarding) -> bool {
    before.rules.get(&rule.forward.id) == Some(rule)
}

/// Whether the way of a rule changes although the rule does not: another outside address.
fn touched(rule: &Rule, entries: &[Entry]) -> bool {
    let of = |forward: &vnet_common::forward::Forward| forward.id == rule.forward.id;
    entries.iter().any(|entry| entry.after.as_ref().is_some_and(of))
}

fn gone<'a>(
    wanted: &'a Forwarding,
    before: &'a Forwarding,
) -> impl Iterator<Item = (&'a u32, &'a Rule)> {
    before.rules.iter().filter(|(id, _)| !wanted.rules.contains_key(*id))
}

/// What is different in the tables.
fn entries(wanted: &Forwarding, before: &Forwarding) -> Vec<Entry> {
    let all: BTreeMap<_, ()> =
        wanted.entries.keys().chain(before.entries.keys()).map(|key| (*key, ())).collect();
    let entries = all.into_keys().map(|(table, span)| Entry {
        table,
        span,
        before: before.entries.get(&(table, span)).copied(),
        after: wanted.entries.get(&(table, span)).copied(),
    });
    entries.filter(|entry| entry.before != entry.after).collect()
}
