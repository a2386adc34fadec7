//! Changing a checksum by what changed gives the checksum that computing it anew gives, for every
//! packet that can be translated and for every ICMP error about one.

mod host;

use host::{Buffer, ETHERNET, frame};
use proptest::prelude::*;
use vnet_common::flow::proto;
use vnet_ebpf::{
    packet::{Kind, Packet, parse},
    quote::{self, End},
    rewrite::{Target, addresses, apply},
    xdp::is_finished,
};

fn parsed(buffer: &Buffer) -> Packet {
    let mut packet = Packet::UNKNOWN;
    parse(buffer, &mut packet, ETHERNET as u32, buffer.0.len() as u32).expect("well-formed");
    packet
}

fn options() -> impl Strategy<Value = Vec<u8>> {
    (0usize..=10).prop_flat_map(|words| prop::collection::vec(Just(1u8), words * 4))
}

fn payload() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(any::<u8>(), 0..64)
}

/// A TCP, UDP or ICMP echo body.
fn body(proto: u8, sport: u16, dport: u16, payload: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    match proto {
        6 => {
            body.extend(sport.to_be_bytes());
            body.extend(dport.to_be_bytes());
            body.extend([1, 2, 3, 4, 5, 6, 7, 8, 0x50, 0x10, 0xff, 0xff, 0, 0, 0, 0]);
        }
        17 => {
            body.extend(sport.to_be_bytes());
            body.extend(dport.to_be_bytes());
            body.extend(((8 + payload.len()) as u16).to_be_bytes());
            body.extend([0, 0]);
        }
        _ => {
            body.extend([8, 0, 0, 0]);
            body.extend(sport.to_be_bytes());
            body.extend([0, 1]);
        }
    }
    body.extend(payload);
    body
}

fn protocol() -> impl Strategy<Value = u8> {
    prop::sample::select(vec![1u8, 6, 17])
}

proptest! {
    #[test]
    fn a_translated_packet_has_the_checksums_of_one_made_so(
        proto in protocol(), from: [u8; 4], to: [u8; 4], ports: (u16, u16), target: ([u8; 4], [u8; 4], u16, u16),
        options in options(), payload in payload(),
    ) {
        let mut buffer = frame(proto, from, to, &options, &body(proto, ports.0, ports.1, &payload));
        let packet = parsed(&buffer);
        let (saddr, daddr, sport, dport) = target;
        let dport = if proto == 1 { sport } else { dport };
        apply(&mut buffer, &packet, &Target { saddr, daddr, sport, dport }).unwrap();
        let made = frame(proto, saddr, daddr, &options, &body(proto, sport, dport, &payload));
        prop_assert_eq!(buffer, made);
    }

    #[test]
    fn a_udp_packet_without_checksum_stays_without(
        from: [u8; 4], to: [u8; 4], saddr: [u8; 4], sport: u16, payload in payload(),
    ) {
        let mut buffer = frame(17, from, to, &[], &body(17, 1, 2, &payload));
        let sum = buffer.l4() + 6;
        buffer.0[sum..sum + 2].fill(0);
        let packet = parsed(&buffer);
        apply(&mut buffer, &packet, &Target { saddr, daddr: to, sport, dport: 2 }).unwrap();
        prop_assert_eq!(&buffer.0[sum..sum + 2], &[0, 0]);
    }

    #[test]
    fn a_damaged_packet_stays_damaged(
        proto in protocol(), from: [u8; 4], to: [u8; 4], saddr: [u8; 4], sport: u16, damage in 1u8..=255,
        payload in prop::collection::vec(any::<u8>(), 1..64),
    ) {
        let mut buffer = frame(proto, from, to, &[], &body(proto, 1000, 2000, &payload));
        *buffer.0.last_mut().unwrap() ^= damage;
        let packet = parsed(&buffer);
        let dport = if proto == 1 { sport } else { 2000 };
        apply(&mut buffer, &packet, &Target { saddr, daddr: to, sport, dport }).unwrap();
        let mut repaired = buffer.clone();
        repaired.finish();
        prop_assert_ne!(buffer, repaired);
    }

    #[test]
    fn an_error_about_a_translated_packet_is_the_error_about_the_original(
        proto in protocol(), inside: [u8; 4], remote: [u8; 4], outside: [u8; 4], router: [u8; 4],
        ports: (u16, u16, u16), payload in payload(), words in 0usize..20, options in options(),
    ) {
        let (inside_port, outside_port, remote_port) = ports;
        // A quote that ends inside a checksum keeps the half it has, which nobody can verify.
        let cut = words * 4;
        // What was sent, and what it looked like outside.
        let original = frame(proto, inside, remote, &options, &body(proto, inside_port, remote_port, &payload));
        let translated = frame(proto, outside, remote, &options, &body(proto, outside_port, remote_port, &payload));
        let mut error = quoting(router, outside, &translated, cut);
        let packet = parsed(&error);
        prop_assert_eq!(packet.kind, Kind::Error);
        let quote = quote::read(&error, &packet, End::Source).expect("quotes a packet that was translated");
        quote::rewrite(&mut error, &packet, &quote, End::Source, inside, inside_port).unwrap();
        addresses(&mut error, packet.l3, router, inside).unwrap();
        prop_assert_eq!(error, quoting(router, inside, &original, cut));
    }

    #[test]
    fn an_error_about_a_packet_that_came_in_quotes_the_outside_endpoint(
        inside: [u8; 4], remote: [u8; 4], outside: [u8; 4], ports: (u16, u16, u16), payload in payload(),
    ) {
        let (inside_port, outside_port, remote_port) = ports;
        let delivered = frame(17, remote, inside, &[], &body(17, remote_port, inside_port, &payload));
        let arrived = frame(17, remote, outside, &[], &body(17, remote_port, outside_port, &payload));
        let mut error = quoting(inside, remote, &delivered, 60);
        let packet = parsed(&error);
        let quote = quote::read(&error, &packet, End::Destination).unwrap();
        quote::rewrite(&mut error, &packet, &quote, End::Destination, outside, outside_port).unwrap();
        addresses(&mut error, packet.l3, outside, remote).unwrap();
        prop_assert_eq!(error, quoting(outside, remote, &arrived, 60));
    }
}

/// A destination-unreachable error that quotes the packet's IP header and 8 + `more` bytes of it.
fn quoting(from: [u8; 4], to: [u8; 4], packet: &Buffer, more: usize) -> Buffer {
    let end = (packet.l4() + 8 + more).min(packet.0.len());
    let mut body = vec![3, 3, 0, 0, 0, 0, 0, 0];
    body.extend(&packet.0[ETHERNET..end]);
    let mut error = frame(1, from, to, &[], &body);
    // What follows the packet in its frame is nobody's checksum's business.
    error.0.extend([0xa5; 7]);
    error
}

/// A UDP datagram without payload from 10.0.0.2:4000 to 192.0.2.9, and its facts.
fn datagram(field: u16, dport: u16) -> (Buffer, Packet) {
    let mut bytes = vec![0; 28];
    bytes[..4].copy_from_slice(&[0x45, 0, 0, 28]);
    bytes[8..10].copy_from_slice(&[64, proto::UDP]);
    bytes[12..20].copy_from_slice(&[10, 0, 0, 2, 192, 0, 2, 9]);
    bytes[20..22].copy_from_slice(&4000_u16.to_be_bytes());
    bytes[22..24].copy_from_slice(&dport.to_be_bytes());
    bytes[24..26].copy_from_slice(&8_u16.to_be_bytes());
    bytes[26..28].copy_from_slice(&field.to_be_bytes());
    let (buffer, mut packet) = (Buffer(bytes), Packet::UNKNOWN);
    parse(&buffer, &mut packet, 0, 28).expect("it is sound");
    (buffer, packet)
}

#[test]
fn a_checksum_that_was_only_begun_is_seen() {
    // Both addresses, the protocol, the length.
    let pseudo = 0x0a00 + 0x0002 + 0xc000 + 0x0209 + 17 + 8;
    for (field, dport, finished) in [
        (pseudo, 53, false),
        (!(pseudo + 4000 + 53 + 8), 53, true),
        // No checksum; a tunnel.
        (0, 53, false),
        (!(pseudo + 4000 + 4789 + 8), 4789, false),
    ] {
        let (buffer, packet) = datagram(field, dport);
        assert_eq!(is_finished(&buffer, &packet), finished, "{field:#x} {dport}");
    }
}
