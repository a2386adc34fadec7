//! Packets in pieces.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::{Duration, Instant};

use super::quoting::moved;
use crate::conformance::Level::{Must, Should};
use crate::conformance::field::{A, B, Field, S1, Station, unique_id};
use crate::conformance::tcp::{Connection, DATA};
use crate::conformance::translator::Wish;
use crate::conformance::{Miss, Requirement, Seen, Translator, ensure, fails};
use crate::lab::{Lab, OUTSIDE};
use crate::packet::{Body, Endpoint as _, Ether, Ipv4, Packet, faults};

pub(super) const LIST: &[Requirement] = &[
    Requirement::new(
        (Must, "RFC 4787 REQ-14"),
        "rfc4787_req14_fragments_in_order",
        "UDP in fragments that come in order passes, both ways.",
        |translator| datagrams(translator, &[0, 1, 2]),
    ),
    Requirement::new(
        (Must, "RFC 4787 REQ-14"),
        "rfc4787_req14_fragments_out_of_order",
        "UDP in fragments that come out of order, the first one last too, passes, both ways.",
        out_of_order,
    ),
    Requirement::new(
        (Must, "RFC 4787 REQ-14"),
        "rfc4787_req14_fragments_of_tcp_and_icmp",
        "So do TCP segments and pings, in order and out of order.",
        tcp_and_ping,
    ),
    Requirement::new(
        (Must, "RFC 6864 section 5.3"),
        "rfc6864_5_3_equal_ids_do_not_mix",
        "Fragments of two hosts with the same IP id to the same server, mixed on their way, are \
         whole datagrams of two senders there.",
        equal_ids,
    ),
    Requirement::new(
        (Must, "RFC 4787 REQ-14a"),
        "rfc4787_req14a_fragment_floods_are_bounded",
        "Ten thousand beginnings without an end hurt neither whole packets nor, soon after, other \
         fragments.",
        flood,
    ),
    Requirement::new(
        (Must, "RFC 1858, RFC 5722"),
        "rfc1858_overlapping_fragments_are_refused",
        "Fragments that overlap do not pass.",
        overlapping,
    ),
    Requirement::new(
        (Should, "RFC 1858, RFC 3128"),
        "rfc1858_tiny_fragments_are_refused",
        "First fragments of TCP that are too short to hold its flags do not pass.",
        tiny,
    ),
    Requirement::new(
        (Must, "RFC 4787 REQ-13"),
        "rfc4787_req13_too_big_is_cut",
        "A packet from inside that is too big for the uplink and may be cut is.",
        cut_by_the_router,
    ),
];

/// What a receiver has got so far of packets that came in pieces.
#[derive(Default)]
struct Receiver(BTreeMap<(Ipv4Addr, Ipv4Addr, u8, u16), BTreeMap<u16, Packet>>);

impl Receiver {
    /// Takes a packet; gives it back when it is whole, or is the last piece of one.
    fn take(&mut self, packet: Packet) -> Option<Packet> {
        if !packet.ip.is_fragment() {
            return Some(packet);
        }
        let ip = &packet.ip;
        let key = (ip.source, ip.destination, ip.protocol.0, ip.id);
        let pieces = self.0.entry(key).or_default();
        // As a receiver does: what comes twice counts once.
        pieces.entry(ip.fragment_offset).or_insert(packet);
        let whole = join(pieces)?;
        self.0.remove(&key);
        Some(whole)
    }
}

/// The packet, if all of its pieces are there.
fn join(pieces: &BTreeMap<u16, Packet>) -> Option<Packet> {
    let mut body = Vec::new();
    for (offset, piece) in pieces {
        if usize::from(*offset) * 8 != body.len() {
            return None;
        }
        body.extend(piece.data());
    }
    let (_, last) = pieces.last_key_value()?;
    if last.ip.more_fragments {
        return None;
    }
    let ip = Ipv4 { fragment_offset: 0, more_fragments: false, ..last.ip.clone() };
    let joined = Packet { ether: Ether::default(), ip, body: Body::Raw(body) };
    Packet::parse_ip(Ether::default(), &joined.ip_bytes()).ok()
}

/// Sends the pieces of a packet in some order, and joins those that arrive. Its IP id may have
/// changed on the way (RFC 6864).
fn carry_cut(from: &Station, to: &Station, packet: &Packet, order: &[usize]) -> Option<Packet> {
    let pieces = packet.clone().id(unique_id()).fragments(64);
    assert_eq!(pieces.len(), order.len(), "every piece is sent once");
    order.iter().for_each(|&n| from.send(&pieces[n]));
    let mut receiver = Receiver::default();
    let next = || to.hear(|heard| heard.ip.protocol == packet.ip.protocol);
    std::iter::from_fn(next).find_map(|piece| receiver.take(piece))
}

/// Whether it arrived, whole and right, with the data that was sent.
fn arrived(packet: Option<Packet>, sent: &Packet, way: &str) -> Result<Packet, Miss> {
    let Some(packet) = packet else { return fails(format!("it did not arrive {way}")) };
    let faults = faults(&packet.bytes());
    ensure(faults.is_empty(), format!("{way}: {}", faults.join(", ")))?;
    ensure(packet.data() == sent.data(), format!("{way}: other data arrived"))?;
    Ok(packet)
}

/// 150 bytes, which make three fragments of any protocol.
fn three() -> Vec<u8> {
    (0..150).collect()
}

fn datagrams(translator: Translator, order: &[usize]) -> Seen {
    let field = Field::plain(translator)?;
    let mapped = moved(&field)?.source();
    there_and_back(&field, mapped, order)
}

fn there_and_back(field: &Field, mapped: SocketAddrV4, order: &[usize]) -> Seen {
    let sent = Packet::udp((A, 4000), S1).payload(&three());
    let seen = arrived(carry_cut(&field.a, &field.outside, &sent, order), &sent, "outside")?;
    ensure(seen.source() == mapped, format!("it came from {}", seen.source()))?;
    let sent = Packet::udp(S1, mapped).payload(&three());
    let heard = arrived(carry_cut(&field.outside, &field.a, &sent, order), &sent, "inside")?;
    let right = heard.destination() == (A, 4000).endpoint();
    ensure(right, format!("it went to {}", heard.destination()))
}

/// Orders that are none.
const SHUFFLED: [[usize; 3]; 4] = [[2, 1, 0], [1, 0, 2], [2, 0, 1], [0, 2, 1]];

fn out_of_order(translator: Translator) -> Seen {
    let field = Field::plain(translator)?;
    let mapped = moved(&field)?.source();
    SHUFFLED.iter().try_for_each(|order| there_and_back(&field, mapped, order))
}

fn tcp_and_ping(translator: Translator) -> Seen {
    let field = Field::plain(translator)?;
    moved(&field)?;
    let mut tcp = Connection::open(&field, (A, 4000), S1)?;
    for order in [[0, 1, 2], [2, 0, 1]] {
        let data = tcp.outward(DATA).payload(&three());
        tcp.next.0 += 150;
        arrived(carry_cut(&field.a, &field.outside, &data, &order), &data, "outside")?;
        let data = tcp.inward(DATA).payload(&three());
        tcp.next.1 += 150;
        arrived(carry_cut(&field.outside, &field.a, &data, &order), &data, "inside")?;
        let ping = Packet::ping(A, *S1.ip(), 7).payload(&three());
        arrived(carry_cut(&field.a, &field.outside, &ping, &order), &ping, "outside")?;
        let pong = Packet::pong(*S1.ip(), OUTSIDE, 7).payload(&three());
        arrived(carry_cut(&field.outside, &field.a, &pong, &order), &pong, "inside")?;
    }
    Ok(())
}

fn equal_ids(translator: Translator) -> Seen {
    let field = Field::plain(translator)?;
    let (a, b) = (field.udp((A, 4000), S1)?, field.udp((B, 4001), S1)?);
    for order in [[0, 1, 2], [2, 0, 1]] {
        let id = unique_id();
        let of_a = Packet::udp((A, 4000), S1).payload(&[b'a'; 150]).id(id).fragments(64);
        let of_b = Packet::udp((B, 4001), S1).payload(&[b'b'; 150]).id(id).fragments(64);
        for n in order {
            field.a.send(&of_a[n]);
            field.b.send(&of_b[n]);
        }
        let mut receiver = Receiver::default();
        let heard = field.outside.all();
        let whole: Vec<_> = heard.into_iter().filter_map(|piece| receiver.take(piece)).collect();
        for (mapped, byte) in [(a, b'a'), (b, b'b')] {
            let right = |p: &Packet| p.source() == mapped && p.data() == [byte; 150];
            let found = whole.iter().any(|p| right(p) && faults(&p.bytes()).is_empty());
            ensure(found, "a datagram did not arrive as it was sent")?;
        }
    }
    Ok(())
}

fn flood(translator: Translator) -> Seen {
    let field = Field::plain(translator)?;
    let mapped = moved(&field)?.source();
    let begun = Packet::udp((A, 4000), S1).payload(&three());
    for id in 0..10_000 {
        field.a.send(&begun.clone().id(id).fragments(64)[0]);
    }
    field.outside.all();
    ensure(field.udp((A, 4000), S1)? == mapped, "a whole packet had another port")?;
    let until = Instant::now() + Duration::from_secs(5);
    let mut last = there_and_back(&field, mapped, &[0, 1, 2]);
    while last.is_err() && Instant::now() < until {
        last = there_and_back(&field, mapped, &[0, 1, 2]);
    }
    last
}

fn overlapping(translator: Translator) -> Seen {
    let field = Field::plain(translator)?;
    field.udp((A, 4000), S1)?;
    let mut overlapping =
        Packet::udp((A, 4000), S1).payload(&three()).id(unique_id()).fragments(64);
    // Eight bytes of the second are the first's too.
    overlapping[1].ip.fragment_offset -= 1;
    overlapping.iter().for_each(|piece| field.a.send(piece));
    let mut receiver = Receiver::default();
    let heard = field.outside.all();
    let passed = heard.iter().filter(|piece| piece.ip.is_fragment()).count();
    let whole = heard.into_iter().find_map(|piece| receiver.take(piece));
    ensure(passed < 3 && whole.is_none(), "they passed")
}

fn tiny(translator: Translator) -> Seen {
    let field = Field::plain(translator)?;
    let tcp = Connection::open(&field, (A, 4000), S1)?;
    // The flags of this segment are in its second fragment.
    let tiny = tcp.outward(DATA).payload(&[1; 40]).id(unique_id()).fragments(8);
    tiny.iter().for_each(|piece| field.a.send(piece));
    let passed = field.outside.all().into_iter().any(|piece| {
        let tiny = piece.ip.fragment_offset == 0 && piece.data().len() < 20;
        piece.ip.is_fragment() && (tiny || piece.ip.fragment_offset == 1)
    });
    ensure(!passed, "they passed")
}

fn cut_by_the_router(translator: Translator) -> Seen {
    let field = Field::build(translator, &Wish::plain(), Lab::plan().uplink_mtu(1400))?;
    let mapped = moved(&field)?.source();
    let sent = Packet::udp((A, 4000), S1).payload(&[7; 1450]).id(unique_id());
    field.a.send(&sent);
    let mut receiver = Receiver::default();
    let next = || field.outside.hear(|heard| heard.ip.protocol == sent.ip.protocol);
    let whole = std::iter::from_fn(next).find_map(|piece| receiver.take(piece));
    let seen = arrived(whole, &sent, "outside")?;
    ensure(seen.source() == mapped, format!("it came from {}", seen.source()))
}
