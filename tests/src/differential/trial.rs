//! A sequence under way in both labs, and what has been found out about it.

use super::address;
use super::differences::{self, Case, Difference};
use super::frames::{Ends, frames};
use super::history::{Facts, History};
use super::ip;
use super::mapping::{Mappings, Space};
use super::outcome::{Outcome, Verdict, expected};
use super::rig::{Heard, Rig, Side};
use super::step::{Kind, Quirk, Sequence, Step, Way};
use crate::packet::{Ether, EtherType, Mac, faults};
use std::net::SocketAddrV4;

/// A sequence in its slot.
pub struct Trial {
    slot: u32,
    sequence: Sequence,
    history: History,
    /// In vnet's lab and in that of nftables.
    mappings: [Mappings; 2],
    pending: Option<Pending>,
    /// The labs are in different states.
    parted: bool,
    /// What was compared, step by step.
    pub steps: Vec<Compared>,
}

/// What was sent and has not been judged.
struct Pending {
    facts: Facts,
    mapped: bool,
    known: bool,
    shared: bool,
    ends: [Ends; 2],
    sent: [Vec<Vec<u8>>; 2],
}

/// One step and what came of it.
#[derive(Debug)]
pub struct Compared {
    /// The step.
    pub step: Step,
    /// What was sent, in vnet's lab and in that of nftables.
    pub sent: [Vec<Vec<u8>>; 2],
    /// What came out.
    pub outcomes: [Outcome; 2],
    /// What that means.
    pub finding: Finding,
}

/// The result of a comparison.
#[derive(Clone, Debug)]
pub enum Finding {
    /// Both did the same.
    Same,
    /// They differ as they may.
    Differs(&'static Difference),
    /// After a difference that leaves them in different states: only vnet's own promises count.
    NotCompared,
    /// vnet broke a promise, or differs in a way that nobody has explained.
    Fault(String),
}

impl Trial {
    /// A sequence that is about to be sent.
    pub fn new(slot: u32, sequence: Sequence) -> Self {
        let (history, mappings) = (History::default(), Default::default());
        Self { slot, sequence, history, mappings, pending: None, parted: false, steps: Vec::new() }
    }

    /// The sequence.
    pub fn sequence(&self) -> &[Step] {
        &self.sequence
    }

    /// The slot it is in.
    pub fn slot(&self) -> u32 {
        self.slot
    }

    /// Whether it is over.
    pub fn is_over(&self) -> bool {
        self.steps.len() == self.sequence.len() || self.fault().is_some()
    }

    /// The first fault, with its step.
    pub fn fault(&self) -> Option<(&Compared, &str)> {
        self.steps.iter().find_map(|step| match &step.finding {
            Finding::Fault(why) => Some((step, why.as_str())),
            Finding::Same | Finding::Differs(_) | Finding::NotCompared => None,
        })
    }

    /// Sends the next step in both labs.
    pub fn send(&mut self, rigs: &[Rig; 2]) {
        let step = &self.sequence[self.steps.len()];
        let last = self.history.last(step);
        let facts = self.history.next(step);
        let ends = [0, 1].map(|lab| self.ends(step, &rigs[lab], &self.mappings[lab]));
        let sent = ends.map(|ends| frames(step, &facts, last, &ends));
        for (rig, frames) in rigs.iter().zip(&sent) {
            frames.iter().for_each(|frame| rig.send(step.way, frame));
        }
        let space = Space::of(step.kind);
        let known = self.mappings.iter().all(|m| m.is_known(space, ends[0].inside, ends[0].server));
        let mapped = self.mappings[0].port(space, ends[0].holder, ends[0].server).is_some();
        let holder = self.mappings[1].holder(space, ends[1].outside.port(), ends[1].server);
        let shared = holder.is_some_and(|holder| holder != ends[1].holder);
        self.pending = Some(Pending { facts, mapped, known, shared, ends, sent });
    }

    fn ends(&self, step: &Step, rig: &Rig, mappings: &Mappings) -> Ends {
        let inside = address::inside(self.slot, step.talk);
        let (holder, server) = match step.way {
            Way::Out | Way::In => (inside, address::server(self.slot, step.talk)),
            Way::Hairpin => {
                let other = address::inside(self.slot, step.talk.turned());
                (other, other)
            }
        };
        let port = mappings.port(Space::of(step.kind), holder, server);
        let nobodys = address::nobodys(self.slot, step.talk);
        let outside = port.map_or(nobodys, |port| SocketAddrV4::new(*nobodys.ip(), port));
        let router = match step.way {
            Way::Out | Way::Hairpin => address::host(self.slot, 3),
            Way::In => address::far(self.slot, 3),
        };
        Ends { inside, outside, holder, server, router, stations: rig.stations(step.way) }
    }

    /// Whether all that was said before in this conversation has arrived, where it is a hairpin.
    fn is_smooth(&self, step: &Step) -> bool {
        let same = |other: &&Compared| {
            let talk = other.step.talk;
            other.step.way == Way::Hairpin && (talk == step.talk || talk.turned() == step.talk)
        };
        let before = self.steps.iter().filter(same);
        before.map(|step| step.outcomes[0].verdict).all(|v| v == Verdict::Translated)
    }

    /// Judges what came out of both labs.
    pub fn judge(&mut self, heard: [Vec<Heard>; 2], rigs: &mut [Rig; 2]) {
        let Some(Pending { facts, mapped, known, shared, ends, sent }) = self.pending.take() else {
            return;
        };
        let step = self.sequence[self.steps.len()].clone();
        let outcomes =
            [0, 1].map(|lab| Outcome::of(&heard[lab], &step, &ends[lab], &mut self.mappings[lab]));
        let case = Case {
            step: &step,
            facts: &facts,
            frame: sent[0].first().map_or(&[], Vec::as_slice),
            mapped,
            known,
            shared,
            verdicts: (outcomes[0].verdict, outcomes[1].verdict),
        };
        let smooth = self.is_smooth(&step);
        let finding = match promises(&case, &sent[0], &ends[0], &outcomes[0], &mut rigs[0]) {
            Ok(()) if smooth && must_arrive(&case) && !case.is_translated() => {
                Finding::Fault("a hairpin did not reach its host".to_owned())
            }
            Err(why) => Finding::Fault(why),
            Ok(()) if self.parted => Finding::NotCompared,
            Ok(()) => compare(&case, &outcomes),
        };
        if let Finding::Differs(difference) = finding {
            self.parted |= difference.parts(&case);
        }
        self.steps.push(Compared { step, sent, outcomes, finding });
    }
}

fn compare(case: &Case<'_>, outcomes: &[Outcome; 2]) -> Finding {
    if outcomes[0].verdict == outcomes[1].verdict && outcomes[0].packets == outcomes[1].packets {
        return Finding::Same;
    }
    match differences::known(case) {
        Some(difference) => Finding::Differs(difference),
        None => {
            let (vnet, nft) = case.verdicts;
            let how = if vnet == nft { ", otherwise" } else { "" };
            Finding::Fault(format!("vnet: {vnet}, nftables: {nft}{how}; no known difference"))
        }
    }
}

/// What vnet promises whatever others do.
fn promises(
    case: &Case<'_>,
    sent: &[Vec<u8>],
    ends: &Ends,
    outcome: &Outcome,
    rig: &mut Rig,
) -> Result<(), String> {
    let step = case.step;
    // Pieces of a packet are no packet yet: of those only addresses and checksums are judged.
    if outcome.verdict == Verdict::Translated
        && !outcome.packets.iter().any(|one| ip::is_fragment(&one.bytes))
        && outcome.packets.first() != expected(step, sent, ends).as_ref()
    {
        return Err("more than NAT changes was changed".to_owned());
    }
    if outcome.verdict == Verdict::Leaked {
        return Err("an inside address was seen outside".to_owned());
    }
    if step.is_sound() {
        for one in &outcome.heard {
            let faults = faults(&framed(&one.bytes));
            if !faults.is_empty() {
                return Err(format!("sound when sent, but now: {}", faults.join(", ")));
            }
        }
    }
    let ports = matches!(step.kind, Kind::Tcp(_) | Kind::Udp | Kind::Ping);
    let translated = step.way != Way::In && outcome.verdict == Verdict::Translated;
    match outcome.outside_port().filter(|_| ports && translated) {
        Some(port) => rig.ownership.learn(Space::of(step.kind), ends.inside, port),
        None => Ok(()),
    }
}

/// Of hairpins the kernel knows nothing: that an ordinary one arrives is asked of vnet alone.
fn must_arrive(case: &Case<'_>) -> bool {
    let stopped = |quirk: &Quirk| matches!(quirk, Quirk::Ttl(0 | 1) | Quirk::Fragments(..));
    case.step.way == Way::Hairpin
        && case.mapped
        && case.facts.orderly
        && matches!(case.step.kind, Kind::Udp | Kind::Tcp(_))
        && !case.step.has(stopped)
}

fn framed(packet: &[u8]) -> Vec<u8> {
    let ether = Ether { destination: Mac::default(), source: Mac::default(), vlan: None };
    [&ether.destination.0[..], &ether.source.0, &EtherType::IPV4.0.to_be_bytes(), packet].concat()
}

/// A side in a word.
pub fn side(side: Side) -> &'static str {
    match side {
        Side::Inside => "inside",
        Side::Outside => "outside",
    }
}
