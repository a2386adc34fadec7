//! Forwards as an instance has them: the rules that were asked for, and the tables made from them.

mod clash;
mod prefix;

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use vnet_common::Ipv4;
use vnet_common::forward::{Forward, Place, Rule, rule_state};
use vnet_common::policy::Outside;
use vnet_common::translate::pool;

pub use clash::{Holder, Target, clashes, kept};
pub use prefix::{Span, spans};

use super::host::Host;
use super::instance::{read_name, write_name};
use crate::spec::{Ports, Proto};

/// Rules there is room for.
pub const RULES_MAX: usize = 1024;

/// One of the two tries that the datapath looks forwards up in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Table {
    /// By the outside end.
    Forwards,
    /// By the inside end.
    Forwarded,
}

impl Table {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Forwards, Self::Forwarded];

    /// Name of its map.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Forwards => "forwards",
            Self::Forwarded => "forwarded",
        }
    }
}

/// Where a forward begins in them: by its outside address, by this host's loopback addresses, and by
/// its target.
#[must_use]
pub fn places(proto: u8, forward: &Forward) -> [(Table, Place); 3] {
    let Forward { outside, inside, first, inside_first, .. } = *forward;
    [
        (Table::Forwards, Place::outside(outside, proto, first)),
        (Table::Forwards, Place::outside(Place::LOOPBACK, proto, first)),
        (Table::Forwarded, Place::inside(inside, proto, inside_first)),
    ]
}

/// Entries of both tries.
pub type Entries = BTreeMap<(Table, Span), Forward>;

/// Ports of one pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PoolPorts {
    /// Number of the pool.
    pub pool: u32,
    /// The ports.
    pub ports: Ports,
}

impl PoolPorts {
    /// Whether all of them are among those.
    #[must_use]
    pub fn is_within(&self, all: &Self) -> bool {
        self.pool == all.pool && self.ports.common(all.ports) == Some(self.ports)
    }
}

/// What an instance has of forwards.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Forwarding {
    /// `rules`.
    pub rules: BTreeMap<u32, Rule>,
    /// `forwards` and `forwarded`.
    pub entries: Entries,
    /// Ports that rules lead from, by their numbers.
    pub covered: Vec<(u32, PoolPorts)>,
    /// Ports that are reserved in the pools. A covered one may be missing: its target's own
    /// connections hold it.
    pub reserved: Vec<PoolPorts>,
    /// Covered ports that anybody may still be given.
    pub loose: Vec<PoolPorts>,
}

impl Forwarding {
    /// What these rules need where the outside addresses are those.
    #[must_use]
    pub fn of(rules: BTreeMap<u32, Rule>, outsides: &BTreeMap<u32, Outside>) -> Self {
        let mut entries = Entries::new();
        let mut covered = Vec::new();
        for rule in rules.values() {
            let Some((number, _)) = resolved(rule, outsides) else { continue };
            let forward = Forward { outside: number, ..rule.forward };
            for (table, place) in places(rule.proto, &forward) {
                for span in spans(place, rule.ports().count()) {
                    // Where two lead to one place, the older one is its own connections' way; where two
                    // outside addresses have one port, the older one has the loopback's.
                    entries.entry((table, span)).or_insert(forward);
                }
            }
            let pool = u8::try_from(number).ok().and_then(|n| pool::number(n, rule.proto));
            let ports = rule.ports();
            covered.extend(pool.map(|pool| (forward.id, PoolPorts { pool, ports })));
        }
        let reserved = covered.iter().map(|(_, ports)| *ports).collect();
        Self { rules, entries, covered, reserved, loose: Vec::new() }
    }

    /// The rules that are to stay, all of them in force.
    #[must_use]
    pub fn staying(&self) -> BTreeMap<u32, Rule> {
        let staying = self.rules.iter().filter(|(_, rule)| rule.state != rule_state::GOING);
        staying.map(|(id, rule)| (*id, Rule { state: rule_state::THERE, ..*rule })).collect()
    }
}

/// What the user should know when this host's own sockets are not led by forwards.
#[must_use]
pub fn unled(forwarding: &Forwarding, host: &Host) -> Option<String> {
    let why = host.uncallable.as_ref().filter(|_| !forwarding.rules.is_empty())?;
    Some(format!(
        "processes of this host itself do not reach the target by the forward's port, neither by the \
         outside address nor by 127.0.0.1 or ::1 ({why}): they reach it by its inside address"
    ))
}

/// Number of a rule's outside address, and the address (0.0.0.0 while it is gone); `None` where the
/// instance has no such address.
#[must_use]
pub fn resolved(rule: &Rule, outsides: &BTreeMap<u32, Outside>) -> Option<(u32, Ipv4)> {
    let any = rule.asked == Ipv4::default();
    let is_meant = |own: &Outside| any || own.addr == rule.asked || own.asked == rule.asked;
    let found = outsides.iter().find(|(_, own)| is_meant(own));
    found.map(|(number, own)| (*number, own.addr))
}

/// What people call a rule's parts.
pub trait Words {
    /// Its name.
    fn name(&self) -> String;
    /// Its protocol.
    fn protocol(&self) -> Proto;
    /// Its outside ports.
    fn ports(&self) -> Ports;
    /// Its inside ports.
    fn inside_ports(&self) -> Ports;
    /// Where it leads.
    fn target(&self) -> String;
    /// The same under that name.
    fn named(self, name: &str) -> Self;
}

impl Words for Rule {
    fn name(&self) -> String {
        read_name(&self.name)
    }

    fn protocol(&self) -> Proto {
        Proto::from_number(self.proto).unwrap_or(Proto::Tcp)
    }

    fn ports(&self) -> Ports {
        Ports { min: self.forward.first, max: self.forward.last }
    }

    fn inside_ports(&self) -> Ports {
        let Forward { first, last, inside_first, .. } = self.forward;
        Ports { min: inside_first, max: inside_first.wrapping_add(last.wrapping_sub(first)) }
    }

    fn target(&self) -> String {
        format!("{}:{}", Ipv4Addr::from(self.forward.inside), self.inside_ports())
    }

    fn named(self, name: &str) -> Self {
        Self { name: write_name(name), ..self }
    }
}

/// Ports that pass, as ranges.
#[must_use]
pub fn ranges(passes: impl Fn(u16) -> bool) -> Vec<Ports> {
    let mut found: Vec<Ports> = Vec::new();
    for port in (0..=u16::MAX).filter(|port| passes(*port)) {
        match found.last_mut() {
            Some(last) if last.max.checked_add(1) == Some(port) => last.max = port,
            Some(_) | None => found.push(Ports { min: port, max: port }),
        }
    }
    found
}

/// Ports that are in `some` and not in `others`.
#[must_use]
pub fn without(some: &[PoolPorts], others: &[PoolPorts]) -> Vec<PoolPorts> {
    let mut left = Vec::new();
    let pools: std::collections::BTreeSet<_> = some.iter().map(|one| one.pool).collect();
    for pool in pools {
        let has = |list: &[PoolPorts], port| {
            list.iter().any(|one| one.pool == pool && one.ports.contains(port))
        };
        let ports = ranges(|port| has(some, port) && !has(others, port));
        left.extend(ports.into_iter().map(|ports| PoolPorts { pool, ports }));
    }
    left
}

#[cfg(test)]
mod tests;
