//! What a router made of a packet, in a form that can be compared.
//!
//! What may differ is taken out: which outside port was chosen (the inside end is put in its
//! place, and every checksum follows), how a packet was cut into fragments (they are joined), the IP
//! id of what leaves in fragments and of what the router says itself, and the IP header's checksum where it is right.

use super::address::is_private;
use super::frames::Ends;
use super::ip::{self, End};
use super::mapping::{Mappings, Space};
use super::reassemble::join;
use super::rig::{Heard, Side, UPLINK_MTU};
use super::step::{Kind, Step, Way};
use crate::lab::OUTSIDE;

/// What became of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// Nothing was heard.
    Nothing,
    /// It came out on the other side, translated.
    Translated,
    /// It came out on the other side with an inside address in it.
    Leaked,
    /// The router itself answered its sender.
    Answered,
    /// Several of these.
    Mixed,
}

impl std::fmt::Display for Verdict {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Nothing => "nothing",
            Self::Translated => "translated",
            Self::Leaked => "leaked",
            Self::Answered => "answered",
            Self::Mixed => "mixed",
        })
    }
}

/// What came out for one step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// In a word.
    pub verdict: Verdict,
    /// In full, comparable.
    pub packets: Vec<Heard>,
    /// As it was heard, fragments joined.
    pub heard: Vec<Heard>,
}

impl Outcome {
    /// Judges what was heard. `mappings` learns from it, for which the step and its `ends` say
    /// whose port it is.
    pub fn of(heard: &[Heard], step: &Step, ends: &Ends, mappings: &mut Mappings) -> Self {
        let heard = join(heard);
        let verdict = verdict(step.way, ends, &heard);
        if step.way != Way::In && verdict == Verdict::Translated {
            for packet in &heard {
                if let Some(port) = ip::port(&packet.bytes, End::Source) {
                    mappings.learn(Space::of(step.kind), ends.inside, ends.server, port);
                }
            }
        }
        let packets = heard.iter().map(|one| comparable(one, step.way, verdict, ends, mappings));
        let packets = packets.map(|one| without_id(step, one)).collect();
        Self { verdict, packets, heard }
    }

    /// The outside port of a packet whose source was translated.
    pub fn outside_port(&self) -> Option<u16> {
        let out = self.heard.first()?;
        ip::port(&out.bytes, End::Source)
    }
}

fn verdict(way: Way, ends: &Ends, heard: &[Heard]) -> Verdict {
    let is_far = |one: &&Heard| match way {
        Way::Out => one.side == Side::Outside,
        Way::In => one.side == Side::Inside,
        Way::Hairpin => ip::address(&one.bytes, End::Destination) == Some(*ends.server.ip()),
    };
    let far_count = heard.iter().filter(is_far).count();
    let leaked = heard.iter().any(|one| one.side == Side::Outside && tells_inside(&one.bytes));
    match (heard.len(), far_count) {
        (0, _) => Verdict::Nothing,
        _ if leaked => Verdict::Leaked,
        (all, far) if all == far => Verdict::Translated,
        (_, 0) => Verdict::Answered,
        _ => Verdict::Mixed,
    }
}

/// Whether a packet has an inside address, or quotes one.
fn tells_inside(packet: &[u8]) -> bool {
    let inside = |packet: &[u8]| {
        let ends = [End::Source, End::Destination];
        ends.iter().any(|end| ip::address(packet, *end).is_some_and(is_private))
    };
    inside(packet) || ip::quote_at(packet).is_some_and(|at| inside(&packet[at..]))
}

fn comparable(
    heard: &Heard,
    way: Way,
    verdict: Verdict,
    ends: &Ends,
    mappings: &Mappings,
) -> Heard {
    let mut bytes = heard.bytes.clone();
    if heard.side == Side::Outside || way == Way::Hairpin {
        ip::in_quote(&mut bytes, |quote| {
            name_inside(quote, End::Destination, verdict, ends, mappings)
        });
        name_inside(&mut bytes, End::Source, verdict, ends, mappings);
    }
    if verdict == Verdict::Answered {
        ip::set_half(&mut bytes, 4, 0);
    }
    ip::in_quote(&mut bytes, ip::normalise);
    ip::normalise(&mut bytes);
    Heard { side: heard.side, bytes }
}

/// Whoever translates gives what leaves in fragments an IP id of its own: two inside hosts may use
/// the same one.
fn without_id(step: &Step, mut packet: Heard) -> Heard {
    let bytes = &mut packet.bytes;
    let long = bytes.len() > UPLINK_MTU as usize;
    if step.way == Way::Out && (long || ip::is_fragment(bytes) || step.fragments().is_some()) {
        let right = bytes.get(10..12) == Some(&[0, 0]);
        ip::set_half(bytes, 4, 0);
        if right {
            bytes[10..12].fill(0);
        }
    }
    packet
}

/// Puts the inside end in the place of the outside one.
fn name_inside(packet: &mut [u8], end: End, verdict: Verdict, ends: &Ends, mappings: &Mappings) {
    if ip::address(packet, end) != Some(OUTSIDE) {
        return;
    }
    let port = ip::port(packet, end);
    let inside = match (verdict, port.zip(ip::space(packet)).zip(ip::endpoint(packet, end.other())))
    {
        // Only an address is there to be named: a later fragment, an error, another protocol.
        (Verdict::Translated, _) if port.is_none() => Some(ends.inside),
        // The port it was sent to, whosever it is.
        (Verdict::Answered, _) => (port == Some(ends.outside.port())).then_some(ends.holder),
        (_, Some(((port, space), remote))) => mappings.holder(space, port, remote),
        (_, None) => None,
    };
    if let Some(inside) = inside {
        ip::set(packet, end, inside);
    }
}

/// What a step is, when it has been translated and nothing else: the same packet with one router
/// less to pass. In the form of [`Outcome::packets`].
pub fn expected(step: &Step, sent: &[Vec<u8>], ends: &Ends) -> Option<Heard> {
    let side = if step.way == Way::Out { Side::Outside } else { Side::Inside };
    let sent: Vec<_> = sent.iter().map(|frame| Heard { side, bytes: frame.clone() }).collect();
    let mut packet = join(&sent).into_iter().next()?;
    let bytes = &mut packet.bytes;
    let ttl = bytes.get(8)?.checked_sub(1)?;
    let protocol = bytes[9];
    ip::set_half(bytes, 8, u16::from_be_bytes([ttl, protocol]));
    let error = matches!(step.kind, Kind::Error(..));
    match step.way {
        // Who inside sends an error is not told.
        Way::Out if error => ip::set(bytes, End::Source, ends.inside),
        // The name of the outside end, put back where it was compared, is the inside end.
        Way::Out => {}
        // Whoever holds the outside end gets it.
        Way::Hairpin => ip::set(bytes, End::Destination, ends.holder),
        Way::In => {
            ip::set(bytes, End::Destination, ends.inside);
            ip::in_quote(bytes, |quote| ip::set(quote, End::Source, ends.inside));
        }
    }
    ip::in_quote(bytes, ip::normalise);
    ip::normalise(bytes);
    Some(without_id(step, packet))
}
