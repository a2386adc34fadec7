//! A step: one change of one kernel object.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};

use ipnet::{Ipv4Net, Ipv6Net};
use vnet_common::forward::{Forward, Rule, rule_state};
use vnet_common::nat66::Uplink6;
use vnet_common::policy::{Config, Link, Outside, Source, Sysctl, role, source};
use vnet_common::prefix6::{Prefix6, side};

use crate::spec::{self, Hook};
use crate::state::{PoolPorts, Span, Table, Way, Words as _, read_name};

/// One change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Make the directory of the pins.
    MakeDirectory,
    /// Create and pin all maps.
    MakeMaps(Config),
    /// Give every pool all of its ports.
    FillPools,
    /// Make the maps of an older layout, which were made for this, those of our own.
    CarryMaps(Config),
    /// Put the maps of the older layout back.
    PutBackMaps,
    /// Take over what the programs of the older layout have counted meanwhile.
    CarryCounters,
    /// Let go of the maps of the older layout.
    ForgetFormerMaps,
    /// Make the namespace where fragments are put in order, and the cable to it: its index here, and
    /// how many seconds a datagram may take.
    MakeSorter(u32, u32),
    /// Remove that namespace, and the cable.
    RemoveSorter,
    /// Write an entry of `outsides`.
    PutOutside(u32, Outside),
    /// Write an entry of `sources`.
    PutSource(Ipv4Net, Source),
    /// Remove an entry of `sources`.
    DropSource(Ipv4Net),
    /// Write an entry of `exclusions`.
    PutExclusion(Ipv4Net),
    /// Remove an entry of `exclusions`.
    DropExclusion(Ipv4Net),
    /// Write an entry of `prefixes6`.
    PutPrefix6(Ipv6Net, Prefix6),
    /// Remove an entry of `prefixes6`.
    DropPrefix6(Ipv6Net),
    /// Write an entry of `uplinks6`.
    PutUplink6(u32, Uplink6),
    /// Remove an entry of `uplinks6`.
    DropUplink6(u32),
    /// Write an entry of `links`.
    PutLink(u32, Link),
    /// Remove an entry of `links`.
    DropLink(u32),
    /// Write an entry of `rules`.
    NoteRule(Rule),
    /// Remove an entry of `rules`.
    ForgetRule(u32),
    /// Change entries of `forwards` and `forwarded`.
    SetForwards(Vec<Entry>),
    /// Take ports out of their pool, for a forward.
    TakePorts(PoolPorts, Grip),
    /// Give ports back that were taken.
    GivePorts(PoolPorts),
    /// Make `peers` say whom those inside talk to.
    FillPeers,
    /// Put the pinned programs on the calls of this host's own sockets.
    AttachCalls,
    /// Take them off.
    DetachCalls,
    /// Write `config`.
    WriteConfig(Config),
    /// Remember what a sysctl was.
    RememberSysctl(String, Sysctl),
    /// Give what is remembered of a sysctl to another instance, which still needs it set.
    HandSysctl(String, Sysctl, spec::Instance),
    /// Forget a sysctl.
    ForgetSysctl(String),
    /// Set a sysctl.
    SetSysctl(String, i32),
    /// Load the programs, start the clock, pin them.
    LoadPrograms(Config),
    /// Pin the programs of before again.
    PutBackPrograms,
    /// Remove the pins of the programs.
    UnpinPrograms,
    /// Add the `clsact` qdisc.
    AddClsact(u32),
    /// Remove the `clsact` qdisc.
    RemoveClsact(u32),
    /// Put the pinned program on a hook.
    Attach(u32, Hook, Way),
    /// Replace the program on a hook by the pinned one.
    Replace(u32, Hook, Way),
    /// Take the program off a hook.
    Detach(u32, Hook, Way),
    /// Remove the pins of all maps.
    RemoveMaps,
    /// Remove the directory of the pins.
    RemoveDirectory,
}

/// One change of `forwards` or `forwarded`: what it was, and what it is to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Which of them.
    pub table: Table,
    /// The key.
    pub span: Span,
    /// The value before.
    pub before: Option<Forward>,
    /// The value after.
    pub after: Option<Forward>,
}

/// What becomes of whoever holds a port that a forward takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Grip {
    /// They keep it until they end; the forward has it from others' point of view.
    Loose,
    /// They keep it, and the forward is refused. The rule says who may: its own target.
    Firm(u32),
    /// Their connections end. The rule says whose do not: its own target's.
    Force(u32),
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::MakeDirectory => write!(f, "make the directory of the pins"),
            Self::MakeMaps(Config { max_flows, addresses, .. }) => {
                write!(f, "make and pin the maps for {max_flows} flows, {addresses} addresses")
            }
            Self::FillPools => write!(f, "fill the port pools"),
            Self::CarryMaps(Config { version, .. }) => {
                write!(f, "take over the maps of layout {version}")
            }
            Self::PutBackMaps => write!(f, "put the maps of the older layout back"),
            Self::CarryCounters => write!(f, "take over the counters of the older layout"),
            Self::ForgetFormerMaps => write!(f, "let go of the maps of the older layout"),
            Self::MakeSorter(index, _) => {
                write!(
                    f,
                    "make the network namespace that sorts fragments, and device {index} to it"
                )
            }
            Self::RemoveSorter => write!(f, "remove the network namespace that sorts fragments"),
            Self::PutOutside(number, outside) => {
                write!(f, "outsides: {number} is {}", Ipv4Addr::from(outside.addr))
            }
            Self::PutSource(net, source) => {
                write!(f, "sources: {net} {}", action_name(source.action))
            }
            Self::DropSource(net) => write!(f, "sources: drop {net}"),
            Self::PutExclusion(net) => write!(f, "exclusions: {net}"),
            Self::DropExclusion(net) => write!(f, "exclusions: drop {net}"),
            Self::PutPrefix6(net, to) => write!(f, "prefixes6: {net} {}", Prefix6Words(to)),
            Self::DropPrefix6(net) => write!(f, "prefixes6: drop {net}"),
            Self::PutUplink6(index, Uplink6 { addr, outside, .. }) => {
                let addr = Ipv6Addr::from(*addr);
                write!(f, "uplinks6: device {index} masquerades by {addr}, number {outside}")
            }
            Self::DropUplink6(index) => write!(f, "uplinks6: drop {index}"),
            Self::PutLink(index, link) => write!(f, "links: {}", LinkWords(*index, link)),
            Self::DropLink(index) => write!(f, "links: drop {index}"),
            Self::NoteRule(rule) => write!(f, "rules: {}", RuleWords(rule)),
            Self::ForgetRule(id) => write!(f, "rules: drop {id}"),
            Self::SetForwards(entries) => {
                write!(f, "forwards: {} prefixes, {}", entries.len(), tables(entries))
            }
            Self::TakePorts(PoolPorts { pool, ports }, grip) => {
                let force = if let Grip::Force(_) = grip { ", by force" } else { "" };
                write!(f, "take ports {ports} out of pool {pool}{force}")
            }
            Self::GivePorts(PoolPorts { pool, ports }) => {
                write!(f, "give ports {ports} back to pool {pool}")
            }
            Self::FillPeers => write!(f, "peers: those of the connections there are"),
            Self::AttachCalls => write!(f, "attach to the calls of this host's sockets"),
            Self::DetachCalls => write!(f, "detach from the calls of this host's sockets"),
            Self::WriteConfig(config) => write!(f, "write config, epoch {}", config.epoch),
            Self::RememberSysctl(name, sysctl) => {
                write!(f, "remember that {name} was {}", sysctl.before)
            }
            Self::HandSysctl(name, _, to) => write!(f, "leave {name} to instance {to}"),
            Self::ForgetSysctl(name) => write!(f, "forget {name}"),
            Self::SetSysctl(name, value) => write!(f, "set {name} to {value}"),
            Self::LoadPrograms(_) => write!(f, "load the programs, start the clock"),
            Self::PutBackPrograms => write!(f, "put the former programs back"),
            Self::UnpinPrograms => write!(f, "unpin the programs"),
            Self::AddClsact(index) => write!(f, "add qdisc clsact to device {index}"),
            Self::RemoveClsact(index) => write!(f, "remove qdisc clsact from device {index}"),
            Self::Attach(index, hook, way) => write!(f, "attach {hook} to device {index}, {way}"),
            Self::Replace(index, hook, way) => write!(f, "replace {hook} on device {index}, {way}"),
            Self::Detach(index, hook, way) => write!(f, "detach {hook} from device {index}, {way}"),
            Self::RemoveMaps => write!(f, "unpin the maps"),
            Self::RemoveDirectory => write!(f, "remove the directory of the pins"),
        }
    }
}

struct Prefix6Words<'a>(&'a Prefix6);

impl fmt::Display for Prefix6Words<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Prefix6 { prefix, length, side, .. } = self.0;
        let prefix = Ipv6Addr::from(*prefix);
        match *side {
            side::INSIDE => write!(f, "is {prefix}/{length} outside"),
            side::OUTSIDE => write!(f, "is {prefix}/{length} inside"),
            side::KEEP => write!(f, "keep"),
            _ => write!(f, "unknown side"),
        }
    }
}

struct LinkWords<'a>(u32, &'a Link);

impl fmt::Display for LinkWords<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(index, link) = self;
        write!(f, "device {index} ({})", read_name(&link.name))?;
        if link.roles & role::UPLINK != 0 {
            let more = if link.outsides > 1 { " and following" } else { "" };
            write!(f, ", uplink with outside address {}{more}", Ipv4Addr::from(link.addr))?;
        }
        if link.roles & role::INSIDE != 0 {
            write!(f, ", inside")?;
        }
        if link.roles & role::SORTER != 0 {
            write!(f, ", to the sorter")?;
        }
        if link.roles & role::HOOKED != 0 {
            write!(f, ", inside hosts come in by it")?;
        }
        Ok(())
    }
}

/// How many of the changes are in which table.
fn tables(entries: &[Entry]) -> String {
    let count = |table| entries.iter().filter(|entry| entry.table == table).count();
    let words = Table::ALL.map(|table| format!("{} in {}", count(table), table.name()));
    words.join(", ")
}

struct RuleWords<'a>(&'a Rule);

impl fmt::Display for RuleWords<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(rule) = self;
        let state = match rule.state {
            rule_state::COMING => "begin",
            rule_state::GOING => "end",
            _ => "keep",
        };
        let (name, proto, ports) = (rule.name(), rule.protocol(), rule.ports());
        write!(f, "{state} {} '{name}', {proto} {ports} to {}", rule.forward.id, rule.target())
    }
}

fn action_name(action: u32) -> &'static str {
    match action {
        source::TRANSLATE => "translate",
        source::KEEP => "keep",
        source::OUTSIDE => "is an outside address",
        _ => "unknown action",
    }
}

/// A step and what takes it back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Planned {
    /// The step.
    pub step: Step,
    /// What takes it back when a later one fails.
    pub undo: Option<Step>,
}

/// All steps, in order, and what the user should know.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// The steps.
    pub steps: Vec<Planned>,
    /// What is left alone though it was asked for, and why.
    pub warnings: Vec<String>,
}

impl Plan {
    /// Adds a step that can be taken back.
    pub(super) fn push(&mut self, step: Step, undo: Step) {
        self.steps.push(Planned { step, undo: Some(undo) });
    }

    /// Adds a step that is not taken back.
    pub(super) fn push_final(&mut self, step: Step) {
        self.steps.push(Planned { step, undo: None });
    }
}
