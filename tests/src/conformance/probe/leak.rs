//! What becomes of packets as such: fields that survive, checksums, and what must never leave.

use std::net::{Ipv4Addr, SocketAddrV4};

use crate::conformance::Level::{Must, Should};
use crate::conformance::field::{A, B, Field, S1, S2, carry, unique_id};
use crate::conformance::tcp::Connection;
use crate::conformance::{Miss, Requirement, Seen, Translator, ensure, fails};
use crate::lab::OUTSIDE;
use crate::packet::{Body, Packet, Protocol, Sum, TcpFlags, faults};

pub(super) const LIST: &[Requirement] = &[
    Requirement::new(
        (Must, "RFC 3022 section 4.1"),
        "rfc3022_4_1_absent_udp_checksum_stays_absent",
        "A UDP checksum of 0 stays 0, both ways.",
        absent_checksum,
    ),
    Requirement::new(
        (Must, "RFC 768"),
        "rfc768_computed_zero_is_sent_as_ones",
        "A UDP checksum that comes out as 0 is sent as 0xffff, both ways.",
        zero_checksum,
    ),
    Requirement::new(
        (Must, "RFC 3022 section 4.2"),
        "rfc3022_4_2_checksums_are_right",
        "Checksums are right after translation: UDP, TCP, pings, of odd and even length.",
        right_checksums,
    ),
    Requirement::new(
        (Must, "RFC 1812 section 5.3.1"),
        "rfc1812_5_3_1_ttl_goes_down_by_one",
        "The TTL goes down by exactly one, for the first packet and for later ones, both ways.",
        ttl,
    ),
    Requirement::new(
        (Must, "RFC 2474, RFC 3168"),
        "rfc2474_dscp_and_ecn_survive",
        "DSCP and ECN arrive as they were sent, both ways.",
        dscp,
    ),
    Requirement::new(
        (Should, "RFC 7857 section 10, RFC 6864"),
        "rfc7857_10_ip_id_survives",
        "The IP id and the don't-fragment bit arrive as they were sent, both ways.",
        ip_id,
    ),
    Requirement::new(
        (Must, "vnet"),
        "nat_unknown_protocols_by_address",
        "SCTP, GRE, ESP and other protocols of one inside host are translated by address, and \
         their answers find back.",
        by_address,
    ),
    Requirement::new(
        (Must, "vnet"),
        "nat_unknown_protocols_do_not_mix",
        "A second host that speaks such a protocol to the same server is not confused with the \
         first.",
        by_address_not_mixed,
    ),
    Requirement::new(
        (Must, "RFC 1918 section 3"),
        "rfc1918_nothing_leaves_with_an_inside_source",
        "Whatever comes from inside (stray TCP segments, errors about nothing, unknown protocols, \
         broken headers), nothing leaves with an inside source.",
        nothing_leaks,
    ),
    Requirement::new(
        (Must, "RFC 1918 section 3"),
        "rfc1918_recorded_routes_show_nobody_inside",
        "IP options that record addresses on the way (record route, timestamps) leave without \
         inside ones.",
        recorded_routes,
    ),
    Requirement::new(
        (Must, "RFC 5771, RFC 919"),
        "rfc919_multicast_and_broadcast_stay",
        "Multicast and broadcast from inside do not leave, translated or not, though a route says \
         so.",
        multicast_stays,
    ),
];

fn absent_checksum(translator: Translator) -> Seen {
    let field = Field::plain(translator)?;
    field.udp((B, 4000), S1)?;
    let sent = Packet::udp((A, 4000), S1).payload(b"no sum").checksum(Sum::Absent);
    let Some(seen) = field.out(&sent) else { return fails("it did not leave") };
    ensure(is_absent(&seen), "a checksum was made up on the way out")?;
    let back = Packet::udp(S1, seen.source()).payload(b"none").checksum(Sum::Absent);
    let Some(heard) = field.back(&back, A) else { return fails("the answer did not arrive") };
    ensure(is_absent(&heard), "a checksum was made up on the way in")
}

fn is_absent(packet: &Packet) -> bool {
    matches!(&packet.body, Body::Udp(udp) if udp.checksum == Sum::Absent)
}

/// The checksum's sixteen bits on the wire.
fn wire_checksum(packet: &Packet) -> u16 {
    let bytes = packet.ip_bytes();
    u16::from_be_bytes([bytes[26], bytes[27]])
}

/// Payload that makes the checksum of this datagram come out as zero, that is 0xffff on the wire.
fn zeroing(packet: Packet) -> Packet {
    let plain = packet.payload(&[0, 0]);
    // One's complement: adding the checksum itself to the sum makes all ones.
    let sum = wire_checksum(&plain);
    plain.payload(&sum.to_be_bytes())
}

fn zero_checksum(translator: Translator) -> Seen {
    let field = Field::plain(translator)?;
    let mapped = field.udp((A, 4000), S1)?;
    let wanted = zeroing(Packet::udp(mapped, S1));
    let sent = Packet::udp((A, 4000), S1).payload(wanted.data());
    let Some(seen) = field.out(&sent) else { return fails("it did not leave") };
    let sum = wire_checksum(&seen);
    ensure(sum == 0xffff, format!("it left with {sum:#06x}"))?;
    let wanted = zeroing(Packet::udp(S1, (A, 4000)));
    let heard = field.back(&Packet::udp(S1, mapped).payload(wanted.data()), A);
    let Some(heard) = heard else { return fails("the answer did not arrive") };
    let sum = wire_checksum(&heard);
    ensure(sum == 0xffff, format!("it came in with {sum:#06x}"))
}

fn right_checksums(translator: Translator) -> Seen {
    let field = Field::plain(translator)?;
    for length in [0, 1, 7, 64, 1001, 1400] {
        let data = vec![0xa5; length];
        let port = 4000 + u16::try_from(length).expect("it is short");
        for packet in [
            Packet::udp((A, port), S1).payload(&data),
            Packet::tcp((A, port), S1, TcpFlags::SYN).payload(&data),
            Packet::ping(A, *S1.ip(), port).payload(&data),
        ] {
            let Some(seen) = field.out(&packet) else {
                return fails(format!("{} of {length} bytes did not leave", packet.ip.protocol));
            };
            let faults = faults(&seen.bytes());
            ensure(faults.is_empty(), faults.join(", "))?;
            ensure(seen.data() == data, "the data was changed")?;
        }
    }
    Ok(())
}

/// A flow's first packets and later ones, each way, as they were sent and as they arrived.
fn both_ways(
    translator: Translator,
    change: impl Fn(Packet) -> Packet,
) -> Result<Vec<(Packet, Packet)>, Miss> {
    let field = Field::plain(translator)?;
    let mut pairs = Vec::new();
    for turn in 0..8 {
        let sent = change(Packet::udp((A, 4000), S1).payload(&[turn]).id(unique_id()));
        field.a.send(&sent);
        let Some(seen) = field.outside.hear(|heard| heard.data() == sent.data()) else {
            return fails("a datagram did not leave");
        };
        let back = change(Packet::udp(S1, seen.source()).payload(&[turn]).id(unique_id()));
        field.outside.send(&back);
        let Some(heard) = field.a.hear(|heard| heard.data() == back.data()) else {
            return fails("an answer did not arrive");
        };
        pairs.extend([(sent, seen), (back, heard)]);
    }
    Ok(pairs)
}

fn ttl(translator: Translator) -> Seen {
    for (_, arrived) in both_ways(translator, |packet| packet.ttl(17))? {
        ensure(arrived.ip.ttl == 16, format!("a TTL of 17 became {}", arrived.ip.ttl))?;
    }
    Ok(())
}

fn dscp(translator: Translator) -> Seen {
    let marked = |mut packet: Packet| {
        packet.ip.tos = 0xb9;
        packet
    };
    for (_, arrived) in both_ways(translator, marked)? {
        ensure(arrived.ip.tos == 0xb9, format!("0xb9 became {:#04x}", arrived.ip.tos))?;
    }
    Ok(())
}

fn ip_id(translator: Translator) -> Seen {
    for (sent, arrived) in both_ways(translator, Packet::dont_fragment)? {
        ensure(arrived.ip.id == sent.ip.id, "the id was changed")?;
        ensure(arrived.ip.dont_fragment, "the don't-fragment bit was lost")?;
    }
    Ok(())
}

/// Protocols without ports that we know: SCTP, GRE, ESP, IPIP, UDP-Lite, one for experiments.
const OTHERS: [Protocol; 6] =
    [Protocol::SCTP, Protocol::GRE, Protocol::ESP, Protocol(4), Protocol(136), Protocol(253)];

/// Bytes that pass for a header of any of them: an SCTP INIT with its ports, mostly zeros.
fn some_body(protocol: Protocol) -> Vec<u8> {
    if protocol == Protocol(4) {
        return Packet::udp("192.0.2.1:1", "192.0.2.2:2").ip_bytes();
    }
    let mut body = vec![0x0f, 0xa0, 0x13, 0x88];
    body.resize(40, 0);
    body
}

fn other(from: Ipv4Addr, to: Ipv4Addr, protocol: Protocol) -> Packet {
    Packet::raw(from, to, protocol, &some_body(protocol))
}

fn by_address(translator: Translator) -> Seen {
    let field = Field::plain(translator)?;
    for protocol in OTHERS {
        let Some(seen) = field.out(&other(A, *S1.ip(), protocol)) else {
            return fails(format!("{protocol} did not leave"));
        };
        ensure(seen.ip.source == OUTSIDE, format!("{protocol} left as from {}", seen.ip.source))?;
        let back = field.back(&other(*S1.ip(), OUTSIDE, protocol), A);
        let found = back.is_some_and(|heard| heard.ip.destination == A);
        ensure(found, format!("{protocol}: the answer did not arrive"))?;
    }
    Ok(())
}

fn by_address_not_mixed(translator: Translator) -> Seen {
    let field = Field::plain(translator)?;
    for protocol in OTHERS {
        if field.out(&other(A, *S1.ip(), protocol)).is_none() {
            // What never leaves cannot be confused.
            continue;
        }
        let second = carry(&field.b, &field.outside, &other(B, *S1.ip(), protocol));
        let answer = other(*S1.ip(), OUTSIDE, protocol).id(unique_id());
        field.outside.send(&answer);
        let to_first = field.a.overhear(|heard| heard.ip.id == answer.ip.id).is_some();
        let alone = second.is_none() && to_first;
        ensure(alone, format!("{protocol} of two hosts left for one server"))?;
    }
    Ok(())
}

fn nothing_leaks(translator: Translator) -> Seen {
    let field = Field::plain(translator)?;
    let stranger = SocketAddrV4::new(*S2.ip(), 7);
    let open = Connection::open(&field, (A, 4000), S1)?;
    let mut sent = Vec::new();
    for flags in [0, 1, 4, 0x10, 0x11, 0x12, 0x14, 0x18, 0x29, 0x3f].map(TcpFlags) {
        sent.push(Packet::tcp((A, 4100), S2, flags).numbers(1, 1));
        sent.push(open.outward(flags).numbers(0x7000_0000, 0x7000_0000));
        sent.push(open.outward(flags).checksum(Sum::Wrong(1)));
    }
    sent.extend(OTHERS.map(|protocol| other(A, *S1.ip(), protocol)));
    sent.extend(OTHERS.map(|protocol| other(B, *S1.ip(), protocol)));
    sent.push(Packet::udp(S2, (A, 9)).error(A, crate::packet::IcmpKind::PORT_UNREACHABLE, 8));
    sent.extend(
        [Protocol::TCP, Protocol::UDP, Protocol::ICMP]
            .map(|protocol| Packet::raw(A, *S1.ip(), protocol, &[0, 1, 2])),
    );
    sent.push(Packet::udp((A, 4200), stranger).checksum(Sum::Wrong(1)));
    let pong = Packet::pong(A, *S1.ip(), 9);
    sent.extend([pong, Packet::udp((A, 0), S1), Packet::udp((A, 4300), (*S1.ip(), 0))]);
    for packet in &sent {
        field.host(packet.ip.source).send(&packet.clone().id(unique_id()));
    }
    let heard = field.outside.all();
    let inside = |packet: &&Packet| packet.ip.source.octets()[0] == 10;
    let leaked: Vec<_> = heard.iter().filter(inside).map(|p| p.ip.protocol.to_string()).collect();
    let first = leaked.first().cloned().unwrap_or_default();
    ensure(leaked.is_empty(), format!("{} packets left so, the first {first}", leaked.len()))
}

fn recorded_routes(translator: Translator) -> Seen {
    let field = Field::plain(translator)?;
    let inside = A.octets();
    // Record route and timestamps with addresses (RFC 791): one place is filled, one is free.
    let route = [&[7, 11, 8][..], &inside, &[0; 4], &[0]].concat();
    let times = [&[68, 20, 13, 1][..], &inside, &[0, 0, 0, 1], &[0; 8]].concat();
    for options in [route, times] {
        let mut packet = Packet::udp((A, 4000), S1).payload(b"recorded");
        packet.ip.options = options;
        let Some(left) = field.out(&packet) else { return fails("it did not leave") };
        let shown = left.ip.options.windows(4).any(|window| window == inside);
        ensure(!shown, "an option showed the host's address")?;
    }
    Ok(())
}

fn multicast_stays(translator: Translator) -> Seen {
    let field = Field::plain(translator)?;
    let broadcast = Ipv4Addr::new(198, 51, 100, 255);
    field.lab.router.set_sysctl("net/ipv4/conf/all/bc_forwarding", "1");
    field.lab.router.set_sysctl("net/ipv4/conf/in0/bc_forwarding", "1");
    for to in [broadcast, Ipv4Addr::new(239, 1, 2, 3), Ipv4Addr::BROADCAST] {
        let packet = Packet::udp((A, 4000), (to, 5000)).payload(b"all").id(unique_id());
        field.a.send(&packet);
        let left = field.outside.overhear(|heard| heard.ip.id == packet.ip.id);
        ensure(left.is_none(), format!("a packet to {to} left"))?;
    }
    Ok(())
}
