//! `forward add` and `forward del`: rules of a running instance, changed one at a time.

use std::collections::BTreeMap;

use vnet_common::forward::{Forward, Rule, rule_state};

use super::apply::{Executor, Report};
use super::error::Error;
use super::observe::{Scope, Seen, observe};
use super::trap::Trap;
use super::turn::Turn;
use crate::bpf::{self, Maps, Pins};
use crate::fault::{Fault, ForwardFault};
use crate::netlink::Netlink;
use crate::plan::{self, Grip};
use crate::proc::sockets;
use crate::spec::{self, ForwardWish, Which};
use crate::state::{
    Forwarding, Found, Instance, Life, RULES_MAX, Words as _, calls, clashes, elsewhere, kept,
    resolved, unled,
};

/// Makes what the wish says; with `dry_run` only says what it would do.
///
/// # Errors
/// When the wish cannot be, or a step fails; then everything is as it was before.
pub async fn add_forward(wish: &ForwardWish, dry_run: bool) -> Result<(Report, Rule), Error> {
    changing(wish.instance.as_ref(), dry_run, async |netlink, seen, instance| {
        let mut rules = instance.forwarding.staying();
        let rule = rule(wish, &rules);
        let id = rule.forward.id;
        let notes = check(wish, &rule, netlink, seen, instance).await?;
        rules.insert(id, rule);
        if rules.len() > RULES_MAX {
            return Err(Fault::from(ForwardFault::TooMany(RULES_MAX)).into());
        }
        let grip = if wish.force { Grip::Force(id) } else { Grip::Firm(id) };
        Ok(Decision { rules, rule, grip, notes })
    })
    .await
}

/// Removes a forward.
///
/// # Errors
/// When there is none, or a step fails; then everything is as it was before.
pub async fn delete_forward(
    which: &Which,
    only: Option<&spec::Instance>,
    dry_run: bool,
) -> Result<(Report, Rule), Error> {
    changing(only, dry_run, async |_, _, instance| {
        let mut rules = instance.forwarding.staying();
        // One whose removal was cut short is still there to be removed.
        let rule = chosen(which, &rules, instance)
            .or_else(|none| chosen(which, &instance.forwarding.rules, instance).or(Err(none)))?;
        rules.remove(&rule.forward.id);
        Ok(Decision { rules, rule, grip: Grip::Loose, notes: Vec::new() })
    })
    .await
}

/// What was decided.
struct Decision {
    /// The rules that are wanted.
    rules: BTreeMap<u32, Rule>,
    /// The one it is about.
    rule: Rule,
    /// How its ports are taken.
    grip: Grip,
    /// What is worth saying about it.
    notes: Vec<String>,
}

/// Looks, decides, and carries out what was decided.
async fn changing(
    only: Option<&spec::Instance>,
    dry_run: bool,
    decide: impl AsyncFn(&Netlink, &Seen, &Instance) -> Result<Decision, Error>,
) -> Result<(Report, Rule), Error> {
    let turn = Turn::take(dry_run)?;
    let (netlink, dry_run) = (&turn.netlink, turn.dry_run);
    let mut seen = observe(netlink, Scope::Instances).await?;
    let name = meant(only, &seen)?.name.clone();
    seen.host.uncallable = uncallable(meant(only, &seen)?);
    let instance = meant(Some(&name), &seen)?;
    let Decision { rules, rule, grip, mut notes } = decide(netlink, &seen, instance).await?;
    let forwarding = Forwarding::of(rules, &instance.outsides);
    let calls = calls(&forwarding, Some(instance), &seen.host);
    notes.extend(unled(&forwarding, &seen.host));
    let wanted = Instance { forwarding, calls, ..instance.clone() };
    let grip = |id| if id == rule.forward.id { grip } else { Grip::Loose };
    let plan = plan::forward(&wanted, instance, grip);
    let mut report = Report { applied: !dry_run, in_place: true, notes, ..Report::default() };
    if !dry_run {
        let mut executor = Executor::new(netlink, &seen.host, &instance.name);
        executor.run(&plan, &mut Trap::set()).await?;
    }
    report.add(plan);
    Ok((report, rule))
}

/// Why programs cannot sit on the calls of this host's sockets, where none do yet.
pub(super) fn uncallable(instance: &Instance) -> Option<String> {
    let first = instance.calls.is_none();
    first.then(|| bpf::why_no_calls(&Pins::of(&instance.name))).flatten()
}

/// The instance that is meant: the named one, else the only one of this namespace.
fn meant<'a>(only: Option<&spec::Instance>, seen: &'a Seen) -> Result<&'a Instance, Fault> {
    let Some(name) = only else {
        let living = seen.instances.values().filter(|found| {
            let whole = !matches!(found, Found::HalfMade(_));
            found.instance().life(&seen.host) == Life::Here && whole
        });
        let other = living.clone().find(|found| matches!(found, Found::Other(..)));
        let living: Vec<_> = living.map(Found::instance).collect();
        return match living.as_slice() {
            [] => Err(Fault::Nothing),
            [one] if other.is_some() => Err(Fault::Unfit(one.name.to_string())),
            [one] => Ok(one),
            several => {
                let names: Vec<_> = several.iter().map(|one| one.name.to_string()).collect();
                Err(ForwardFault::WhichInstance(names.join(", ")).into())
            }
        };
    };
    let found = seen.instances.get(name).ok_or_else(|| Fault::NoInstance(name.to_string()))?;
    match found {
        Found::Whole(instance) => match elsewhere(instance, &seen.host) {
            Some(fault) => Err(fault),
            None if instance.is_dead(&seen.host) => Err(Fault::Unfit(name.to_string())),
            None => Ok(instance),
        },
        Found::HalfMade(_) | Found::Other(..) => Err(Fault::Unfit(name.to_string())),
    }
}

/// The rule that is wished. It has the number of the one it changes: of the same name when one is
/// given, else of the very same ports.
fn rule(wish: &ForwardWish, rules: &BTreeMap<u32, Rule>) -> Rule {
    let asked = wish.address.map(|address| address.octets()).unwrap_or_default();
    let same_ports = |rule: &&Rule| {
        rule.proto == wish.proto.number()
            && rule.asked == asked
            && rule.ports() == wish.ports
            && (rule.forward.inside, rule.inside_ports())
                == (wish.inside.octets(), wish.inside_ports)
    };
    let before = match &wish.name {
        Some(name) => rules.values().find(|rule| rule.name() == *name),
        None => rules.values().find(same_ports),
    };
    let free = (1..).find(|id| !rules.contains_key(id)).unwrap_or_default();
    let id = before.map_or(free, |rule| rule.forward.id);
    let name = match (&wish.name, before) {
        (Some(name), _) => name.clone(),
        (None, Some(before)) => before.name(),
        (None, None) => own_name(wish, rules),
    };
    let forward = Forward {
        outside: 0,
        inside: wish.inside.octets(),
        first: wish.ports.min,
        last: wish.ports.max,
        inside_first: wish.inside_ports.min,
        reserved: 0,
        id,
    };
    let (proto, state) = (wish.proto.number(), rule_state::THERE);
    Rule { forward, asked, proto, state, reserved: 0, name: [0; 32] }.named(&name)
}

/// A name for who has none: protocol and ports, and a number where that is another's.
fn own_name(wish: &ForwardWish, rules: &BTreeMap<u32, Rule>) -> String {
    let plain = format!("{}-{}", wish.proto, wish.ports);
    let numbered = (2..).map(|number| format!("{plain}.{number}"));
    let mut names = std::iter::once(plain.clone()).chain(numbered);
    names.find(|name| rules.values().all(|rule| rule.name() != *name)).unwrap_or(plain)
}

/// Everything that speaks against the rule; what is worth saying where nothing does.
async fn check(
    wish: &ForwardWish,
    rule: &Rule,
    netlink: &Netlink,
    seen: &Seen,
    instance: &Instance,
) -> Result<Vec<String>, Error> {
    let target = netlink.way_to(wish.inside).await?;
    let waiting = sockets::waiting(wish.proto, wish.ports);
    let waiting = waiting.map_err(|error| Error::io("list the sockets of this host", error))?;
    let mut faults = clashes(rule, instance, &seen.host, target, &waiting);
    if !wish.force {
        faults.extend(holders(rule, instance)?);
    }
    if faults.is_empty() { Ok(kept(rule, &waiting)) } else { Err(Error::Faults(faults)) }
}

/// Mappings that hold ports of the rule, but for those of the target itself.
fn holders(rule: &Rule, instance: &Instance) -> Result<Vec<Fault>, Error> {
    let rules = BTreeMap::from([(rule.forward.id, *rule)]);
    let wanted = Forwarding::of(rules, &instance.outsides);
    let mut faults = Vec::new();
    let outside = resolved(rule, &instance.outsides).map(|(_, addr)| addr).unwrap_or_default();
    for (_, ports) in wanted.covered {
        let found = Maps::of(&Pins::of(&instance.name)).holders(ports)?;
        let others = found.iter().filter(|holder| !holder.is_target(rule));
        faults.extend(others.map(|holder| holder.fault(rule, outside)));
    }
    Ok(faults)
}

/// The rule that is meant.
fn chosen(which: &Which, rules: &BTreeMap<u32, Rule>, instance: &Instance) -> Result<Rule, Fault> {
    let is_meant = |rule: &&Rule| match which {
        Which::Name(name) => rule.name() == *name,
        Which::Id(id) => rule.forward.id == *id,
        Which::Port(proto, port) => {
            proto.is_none_or(|proto| proto == rule.protocol()) && rule.ports().contains(*port)
        }
    };
    let meant: Vec<_> = rules.values().filter(is_meant).collect();
    match meant.as_slice() {
        [one] => Ok(**one),
        [] => {
            let (instance, which) = (instance.name.to_string(), which.to_string());
            Err(ForwardFault::None { instance, which }.into())
        }
        several => {
            let words = several
                .iter()
                .map(|rule| format!("'{}' ({} {})", rule.name(), rule.protocol(), rule.ports()));
            Err(ForwardFault::Ambiguous(words.collect::<Vec<_>>().join(", ")).into())
        }
    }
}
