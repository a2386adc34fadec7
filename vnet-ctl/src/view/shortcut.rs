//! Which way the packets of a flow take, and why.

use std::fmt;

use serde::Serialize;
use vnet_common::flow::{Flow, flag, proto};
use vnet_common::policy::{link_flag, xdp};
use vnet_common::shortcut::{self, Hop};
use vnet_common::tcp::State;

use super::clock::seconds;
use crate::state::{Instance, read_name};

/// Why packets take the kernel's way, or do not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Why {
    /// They take the shortcut.
    Shortcut,
    /// The next one does, and shows the way anew: the last one that did is more than a second away.
    Due,
    /// The configuration has changed since: the same.
    Changed,
    /// Nobody has answered, or the handshake is not over.
    Unanswered,
    /// Both ends have closed it, or one has reset it.
    Closed,
    /// The kernel has not let packets of both directions pass.
    OneWay,
    /// None of this direction has been seen to leave by a device that has the programs.
    Unseen,
    /// One of its devices is kept off (`--no-shortcut`).
    KeptOff,
    /// It is this host's own.
    Host,
    /// It is between two inside hosts.
    Hairpin,
    /// Only TCP and UDP take it.
    Protocol,
}

impl Why {
    /// In words.
    #[must_use]
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::Shortcut => "shortcut",
            Self::Due => "the kernel's way once more, to show the way anew",
            Self::Changed => "the kernel's way once more, as the configuration has changed",
            Self::Unanswered => "the kernel's way, until it is answered",
            Self::Closed => "the kernel's way, as it is closed",
            Self::OneWay => "the kernel's way, which has not let the other direction pass",
            Self::Unseen => "the kernel's way, and none was seen to leave by a managed device",
            Self::KeptOff => "the kernel's way (--no-shortcut)",
            Self::Host => "this host's own",
            Self::Hairpin => "the kernel's way, between two inside hosts",
            Self::Protocol => "the kernel's way, as only TCP and UDP take the shortcut",
        }
    }
}

/// What is remembered of one direction.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Remembered {
    /// Device packets come in by.
    pub from: String,
    /// Device they leave by.
    pub dev: String,
    /// How they get there: `device`, by `bpf_redirect` at traffic control, or `xdp` where XDP sends them,
    /// if they are complete as they come in.
    pub redirect: &'static str,
    /// Link address of the neighbour they are sent to; none on a device without a link header.
    pub lladdr: Option<String>,
    /// `skb->mark` they leave with.
    pub mark: u32,
    /// `skb->priority` they leave with.
    pub priority: u32,
    /// Bytes of the largest one that may take it, from the IP header on.
    pub size: u16,
}

/// The way of one direction.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Way {
    /// Why it is this one.
    pub why: Why,
    /// Seconds since the kernel showed it, where it has.
    pub age_s: Option<f64>,
    /// What is remembered.
    #[serde(flatten)]
    pub hop: Option<Remembered>,
}

impl Way {
    /// That of the direction whose entry this is, with the hop that it remembers, at a time in
    /// nanoseconds.
    #[must_use]
    pub fn of(instance: &Instance, protocol: u8, flow: &Flow, hop: Option<&Hop>, now: u64) -> Self {
        let age = shortcut::Way::stamp(now).wrapping_sub(flow.way.learnt);
        Self {
            why: why(instance, protocol, flow, hop, age),
            age_s: hop.map(|_| seconds(u64::from(age) << 24, 0)),
            hop: hop.map(|hop| remembered(instance, hop, flow.way.size)),
        }
    }
}

fn why(instance: &Instance, protocol: u8, flow: &Flow, hop: Option<&Hop>, age: u16) -> Why {
    let off = |index| {
        instance.links.get(&index).is_some_and(|link| link.flags & link_flag::NO_SHORTCUT != 0)
    };
    let has = |bit| flow.flags & bit != 0;
    match State::from_number(flow.state) {
        _ if !matches!(protocol, proto::TCP | proto::UDP) => Why::Protocol,
        _ if has(flag::HOST) => Why::Host,
        _ if has(flag::HAIRPIN) => Why::Hairpin,
        _ if off(flow.link) => Why::KeptOff,
        _ if hop.is_some_and(|hop| off(hop.device) || off(hop.from)) => Why::KeptOff,
        Some(State::TimeWait | State::Reset) => Why::Closed,
        Some(State::Established | State::Replied | State::FinOut | State::FinIn) => match hop {
            None if has(flag::ACCEPTED) => Why::Due,
            None => Why::Unseen,
            Some(_) if !has(flag::ACCEPTED) => Why::OneWay,
            Some(_) if flow.way.epoch != instance.config.epoch as u16 => Why::Changed,
            Some(_) if !shortcut::Way::holds(0, age) => Why::Due,
            Some(_) => Why::Shortcut,
        },
        _ => Why::Unanswered,
    }
}

fn remembered(instance: &Instance, hop: &Hop, size: u16) -> Remembered {
    let name = |index| {
        instance
            .links
            .get(&index)
            .map_or_else(|| format!("if{index}"), |link| read_name(&link.name))
    };
    let link = |index| instance.links.get(&index);
    let early = hop.header != 0
        && link(hop.from).is_some_and(|link| link.xdp != xdp::OFF)
        && link(hop.device).is_some_and(|link| link.flags & link_flag::EXIT != 0);
    let lladdr = |mac: [u8; 6]| mac.map(|byte| format!("{byte:02x}")).join(":");
    Remembered {
        from: name(hop.from),
        dev: name(hop.device),
        redirect: if early { "xdp" } else { "device" },
        lladdr: (hop.header != 0).then(|| lladdr(hop.dmac)),
        mark: hop.mark,
        priority: hop.priority,
        size,
    }
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.why.meaning())?;
        let Some(hop) = &self.hop else { return Ok(()) };
        write!(f, ": {} -> {}", hop.from, hop.dev)?;
        if let Some(lladdr) = &hop.lladdr {
            write!(f, " lladdr {lladdr}")?;
        }
        if hop.redirect != "device" {
            write!(f, " by {}", hop.redirect)?;
        }
        write!(f, ", up to {} bytes", hop.size)?;
        if hop.mark != 0 {
            write!(f, ", mark {:#x}", hop.mark)?;
        }
        let age = self.age_s.unwrap_or_default();
        write!(f, ", shown {age:.1}s ago")
    }
}

#[cfg(test)]
mod tests {
    use vnet_common::policy::Link;

    use super::*;
    use crate::spec;

    fn instance() -> Instance {
        let mut instance = Instance::empty(spec::Instance::parse("a").unwrap());
        instance
            .links
            .insert(2, Link { name: *b"lan0\0\0\0\0\0\0\0\0\0\0\0\0", ..Link::default() });
        instance
            .links
            .insert(3, Link { name: *b"eth0\0\0\0\0\0\0\0\0\0\0\0\0", ..Link::default() });
        instance
    }

    const HOP: Hop = Hop {
        device: 3,
        from: 2,
        mark: 0,
        priority: 0,
        dmac: [0; 6],
        smac: [0; 6],
        header: 14,
        came: 14,
        class: 0,
        reserved: 0,
        to: [0; 6],
        spare: [0; 2],
        noted: 1,
    };

    fn flow() -> Flow {
        let way = shortcut::Way { hop: 1, size: 1500, learnt: 0, epoch: 0 };
        let (state, flags) = (State::Replied as u8, flag::ACCEPTED);
        Flow { state, flags, link: 3, way, ..Flow::default() }
    }

    fn at(flow: &Flow, now: u64) -> Way {
        Way::of(&instance(), proto::UDP, flow, Some(&HOP), now)
    }

    #[test]
    fn what_is_fresh_is_taken_and_said() {
        let way = at(&flow(), 500_000_000);
        assert_eq!(way.why, Why::Shortcut);
        let said =
            "shortcut: lan0 -> eth0 lladdr 00:00:00:00:00:00, up to 1500 bytes, shown 0.4s ago";
        assert_eq!(way.to_string(), said);
        assert_eq!(at(&flow(), 1_100_000_000).why, Why::Due);
    }

    #[test]
    fn where_xdp_takes_it_that_is_said() {
        let mut early = instance();
        early.links.get_mut(&2).unwrap().xdp = xdp::NATIVE;
        let said = |instance: &Instance, hop: &Hop| {
            Way::of(instance, proto::UDP, &flow(), Some(hop), 0).hop.unwrap().redirect
        };
        assert_eq!(said(&early, &HOP), "device", "XDP cannot send there");
        early.links.get_mut(&3).unwrap().flags = link_flag::EXIT;
        assert_eq!(said(&early, &HOP), "xdp");
        assert_eq!(said(&early, &Hop { header: 0, ..HOP }), "device");
        let way = Way::of(&early, proto::UDP, &flow(), Some(&HOP), 0);
        assert!(way.to_string().contains(" by xdp,"));
    }

    #[test]
    fn each_reason_has_its_case() {
        let none = |flow: &Flow| Way::of(&instance(), proto::UDP, flow, None, 0).why;
        assert_eq!(none(&Flow { flags: 0, ..flow() }), Why::Unseen);
        assert_eq!(none(&flow()), Why::Due);
        let one_way = Flow { flags: 0, ..flow() };
        let changed = Flow { way: shortcut::Way { epoch: 1, ..flow().way }, ..flow() };
        let unanswered = Flow { state: State::Unreplied as u8, ..flow() };
        let closed = Flow { state: State::Reset as u8, ..flow() };
        let host = Flow { flags: flag::HOST, ..flow() };
        let hairpin = Flow { flags: flag::HAIRPIN, ..flow() };
        let cases = [
            (one_way, Why::OneWay),
            (changed, Why::Changed),
            (unanswered, Why::Unanswered),
            (closed, Why::Closed),
            (host, Why::Host),
            (hairpin, Why::Hairpin),
        ];
        for (flow, why) in cases {
            assert_eq!(at(&flow, 0).why, why);
        }
        let icmp = Way::of(&instance(), proto::ICMP, &flow(), Some(&HOP), 0);
        assert_eq!(icmp.why, Why::Protocol);
        let mut kept = instance();
        kept.links.get_mut(&2).unwrap().flags = link_flag::NO_SHORTCUT;
        let kept = Way::of(&kept, proto::UDP, &flow(), Some(&HOP), 0);
        assert_eq!(kept.why, Why::KeptOff);
    }
}
