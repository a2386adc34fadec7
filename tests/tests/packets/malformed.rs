//! Headers that contradict themselves: never a crash, never a private source outside.

use vnet_common::account::Reason;
use vnet_tests::datapath::{Datapath, Hook};
use vnet_tests::packet::{IcmpKind, Packet, TcpFlags, explain};

use crate::scene::{CLIENT, HOP, SERVER, datagram, outside, ping};

/// Where an Ethernet frame's IPv4 header begins, and what it has where.
const IP: usize = 14;
const TOTAL_LENGTH: usize = IP + 2;
const SOURCE: usize = IP + 12;
/// Where the transport header begins when the IP header has no options. The kernel tries nothing
/// shorter than that on a program.
const L4: usize = IP + 20;

/// One of every kind, as it would leave from inside, after the flow it belongs to was made.
fn kinds(datapath: &Datapath) -> Vec<Packet> {
    let mut with_options = datagram();
    with_options.ip.options = vec![1; 8];
    let queries = [
        datagram(),
        Packet::tcp(CLIENT, SERVER, TcpFlags::SYN).payload(b"data"),
        ping(7),
        with_options,
    ];
    for query in &queries {
        datapath.out(query, Reason::NatOut);
    }
    let answer = Packet::udp(SERVER, CLIENT).payload(b"too late");
    let error = answer.error(*CLIENT.ip(), IcmpKind::PORT_UNREACHABLE, 8);
    queries.into_iter().chain([error]).collect()
}

/// The same from outside.
fn answers() -> Vec<Packet> {
    let mut with_options = Packet::udp(SERVER, outside(4000)).payload(b"answer");
    with_options.ip.options = vec![1; 8];
    vec![
        Packet::udp(SERVER, outside(4000)).payload(b"answer"),
        Packet::tcp(SERVER, outside(4000), TcpFlags::SYN | TcpFlags::ACK),
        Packet::pong(*SERVER.ip(), *outside(0).ip(), 7),
        with_options,
        datagram().from(outside(4000)).error(HOP, IcmpKind::TIME_EXCEEDED, 8),
    ]
}

/// Tries a frame that may be anything; whatever is let out must not tell who is inside.
#[track_caller]
fn survives(datapath: &Datapath, hook: Hook, frame: &[u8]) {
    let before = datapath.counters();
    let context = match hook {
        Hook::Out => datapath.forwarded(),
        Hook::In => datapath.own(),
    };
    let verdict = datapath.run_frame(hook, &context, frame);
    let moved = datapath.counters().since(&before);
    assert_eq!(moved.values().sum::<i128>(), 1, "one end for {}: {moved:?}", explain(frame));
    let is_ipv4 = frame[12..IP] == [8, 0];
    let passes = verdict.action == vnet_tests::test_run::Action::Next;
    if hook == Hook::Out && is_ipv4 && passes {
        let source = verdict.frame.get(SOURCE..SOURCE + 4).unwrap_or_default();
        assert!(source.first().is_some_and(|first| *first != 10), "{moved:?}: {verdict}");
    }
}

#[test]
fn cut_short_at_every_byte() {
    let datapath = Datapath::new();
    for (packet, answer) in kinds(&datapath).iter().zip(answers()) {
        for (hook, whole) in [(Hook::Out, packet.bytes()), (Hook::In, answer.bytes())] {
            for length in L4..whole.len() {
                let (context, end) = match hook {
                    Hook::Out => (datapath.forwarded(), Reason::Malformed),
                    Hook::In => (datapath.own(), Reason::MalformedIn),
                };
                datapath.judged_frame(hook, &context, &whole[..length], end);
            }
        }
    }
}

#[test]
fn cut_short_by_its_own_word() {
    let datapath = Datapath::new();
    for packet in kinds(&datapath) {
        let whole = packet.bytes();
        let headers = match packet.ip.protocol {
            vnet_tests::packet::Protocol::TCP => 20,
            _ => 8,
        };
        let least = packet.ip.options.len() + 20 + headers;
        // 0 is left out: it is how a packet longer than 64 KiB is written.
        for total in (1..least).chain([whole.len() - IP + 1, 0xffff]) {
            let mut frame = whole.clone();
            let total = u16::try_from(total).expect("a short packet").to_be_bytes();
            frame[TOTAL_LENGTH..TOTAL_LENGTH + 2].copy_from_slice(&total);
            datapath.judged_frame(Hook::Out, &datapath.forwarded(), &frame, Reason::Malformed);
            datapath.judged_frame(Hook::In, &datapath.own(), &frame, Reason::MalformedIn);
        }
    }
}

#[test]
fn versions_and_header_lengths_that_cannot_be() {
    let datapath = Datapath::new();
    for packet in kinds(&datapath) {
        for first in (0..=255u8).filter(|first| first >> 4 != 4 || first & 0xf < 5) {
            let mut frame = packet.bytes();
            frame[IP] = first;
            datapath.judged_frame(Hook::Out, &datapath.forwarded(), &frame, Reason::Malformed);
        }
        // Longer than the packet.
        let mut frame = datagram().payload(b"").bytes();
        frame[IP] = 0x4f;
        datapath.judged_frame(Hook::Out, &datapath.forwarded(), &frame, Reason::Malformed);
    }
}

#[test]
fn tcp_header_lengths_that_cannot_be() {
    let datapath = Datapath::new();
    let syn = Packet::tcp(CLIENT, SERVER, TcpFlags::SYN).payload(b"data");
    for units in [0, 1, 4, 7, 15] {
        let mut frame = syn.bytes();
        frame[L4 + 12] = units << 4;
        datapath.judged_frame(Hook::Out, &datapath.forwarded(), &frame, Reason::Malformed);
    }
}

#[test]
fn one_flipped_bit_anywhere_never_shows_who_is_inside() {
    let datapath = Datapath::new();
    for (packet, answer) in kinds(&datapath).iter().zip(answers()) {
        for (hook, whole) in [(Hook::Out, packet.bytes()), (Hook::In, answer.bytes())] {
            // EtherType included, addresses of the link left out.
            for bit in 12 * 8..whole.len() * 8 {
                let mut frame = whole.clone();
                frame[bit / 8] ^= 0x80 >> (bit % 8);
                survives(&datapath, hook, &frame);
            }
        }
    }
}

#[test]
fn random_headers_never_show_who_is_inside() {
    let datapath = Datapath::new();
    let packets = kinds(&datapath);
    let mut random = 0x2545_f491_4f6c_dd1d_u64;
    let mut next = move || {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random
    };
    for _ in 0..2000 {
        let packet = &packets[next() as usize % packets.len()];
        let mut frame = packet.bytes();
        for _ in 0..next() % 6 {
            let at = IP + next() as usize % (frame.len() - IP);
            // The source stays: that it does not leave is the point.
            if !(SOURCE..SOURCE + 4).contains(&at) {
                frame[at] = next() as u8;
            }
        }
        frame.truncate(L4.max(next() as usize % (2 * frame.len())));
        survives(&datapath, Hook::Out, &frame);
    }
}
