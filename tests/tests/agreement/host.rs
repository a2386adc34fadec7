//! What the core says of a frame on the host, in the order in which the programs ask it
//! (`known.rs` and `decide.rs` in vnet-ebpf/src).

use vnet_common::account::Reason;
use vnet_common::flow::{Direction, Flow, FlowKey};
use vnet_ebpf::flow::carries;
use vnet_ebpf::options::{STEPS, Walk};
use vnet_ebpf::packet::{Kind, Packet, Part};
use vnet_ebpf::quote::{self, End};
use vnet_ebpf::rewrite::{Target, addresses, apply};
use vnet_judge::{ETHERNET, Frame, look};
use vnet_tests::packet::internet_checksum;

/// What is to become of a frame.
#[derive(Debug)]
pub(crate) enum Said {
    /// It is not one that NAT looks at.
    Aside(Reason),
    /// Its headers contradict themselves.
    Malformed,
    /// A flow knows it: how it ends, and what is left of it.
    Known { end: Reason, packet: Packet, left: Vec<u8> },
    /// A fragment that is not the first: whether it is known lies in what its first one left behind.
    Later,
    /// No flow knows it: policy decides, and nothing is changed.
    Unknown(Kind),
}

/// Which way, and by which device.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Way {
    /// Out or in.
    pub(crate) direction: Direction,
    /// Index of the uplink.
    pub(crate) link: u32,
}

/// Asks the core about a frame; `find` looks up the flow entry of a tuple.
pub(crate) fn say(way: Way, bytes: &[u8], mut find: impl FnMut(&FlowKey) -> Option<Flow>) -> Said {
    if let Some(reason) = aside(bytes) {
        return Said::Aside(reason);
    }
    let mut frame = Frame(bytes.to_vec());
    let Ok(packet) = look(&frame, ETHERNET) else { return Said::Malformed };
    if packet.part == Part::Later {
        return Said::Later;
    }
    let serves = |flow: &Flow| flow.direction == way.direction as u8 && flow.link == way.link;
    let done = match packet.kind {
        Kind::Error => error(way.direction, &mut frame, &packet, |key| find(key).filter(serves)),
        kind if carries(kind, way.direction) => {
            let flow = find(&packet.key).filter(serves);
            flow.map(|flow| {
                apply(&mut frame, &packet, &target(&flow))?;
                if way.direction == Direction::Out {
                    hide(&mut frame, packet.l3, packet.l4, flow.saddr);
                }
                Ok(translated(way))
            })
        }
        _ => None,
    };
    match done {
        None => Said::Unknown(packet.kind),
        Some(end) => {
            let end = end.unwrap_or_else(|reason| reason);
            Said::Known { end, packet, left: frame.0 }
        }
    }
}

/// Why frames of another EtherType (IEEE 802 numbers) are not looked at.
fn aside(bytes: &[u8]) -> Option<Reason> {
    match u16::from_be_bytes([bytes[12], bytes[13]]) {
        0x0800 => None,
        0x86dd => Some(Reason::Ipv6),
        0x8100 | 0x88a8 => Some(Reason::Vlan),
        _ => Some(Reason::NotIp),
    }
}

fn translated(way: Way) -> Reason {
    match way.direction {
        Direction::Out => Reason::NatOut,
        Direction::In => Reason::NatIn,
    }
}

fn target(flow: &Flow) -> Target {
    Target { saddr: flow.saddr, daddr: flow.daddr, sport: flow.sport, dport: flow.dport }
}

fn error(
    direction: Direction,
    frame: &mut Frame,
    packet: &Packet,
    mut find: impl FnMut(&FlowKey) -> Option<Flow>,
) -> Option<Result<Reason, Reason>> {
    let end = match direction {
        Direction::Out => End::Destination,
        Direction::In => End::Source,
    };
    let quote = quote::read(frame, packet, end)?;
    let flow = find(&quote.key.reversed())?;
    let whole = packet.part == Part::Whole;
    if whole && !sound(&frame.0, packet.l4, packet.end) || !sound(&frame.0, quote.l3, quote.l4) {
        return Some(Err(Reason::IcmpChecksum));
    }
    let key = &packet.key;
    Some(match direction {
        Direction::Out => quote::rewrite(frame, packet, &quote, end, flow.saddr, flow.sport)
            .and_then(|()| addresses(frame, packet.l3, flow.saddr, key.daddr))
            .map(|_| {
                hide(frame, packet.l3, packet.l4, flow.saddr);
                hide(frame, quote.l3, quote.l4, flow.saddr);
                Reason::IcmpErrorOut
            }),
        Direction::In => quote::rewrite(frame, packet, &quote, end, flow.daddr, flow.dport)
            .and_then(|()| addresses(frame, packet.l3, key.saddr, flow.daddr))
            .map(|_| Reason::IcmpErrorIn),
    })
}

/// Puts the outside address in the place of those in options.
fn hide(frame: &mut Frame, l3: u32, l4: u32, addr: [u8; 4]) {
    let mut walk = Walk::new(l3, l4, addr, 0);
    for _ in 0..STEPS {
        if walk.step(frame).is_none() {
            return;
        }
    }
}

/// Whether bytes that hold their own checksum add up.
fn sound(frame: &[u8], start: u32, end: u32) -> bool {
    internet_checksum(&frame[start as usize..end as usize]) == 0
}

/// Ends that only certain packets may meet that no flow knows; any packet may meet the others.
const TELLING: [(Reason, &[Kind]); 16] = [
    (Reason::Fragment, &[Kind::Fragment]),
    (Reason::FragmentIn, &[Kind::Fragment]),
    (Reason::Protocol, &[Kind::Other]),
    (Reason::IcmpType, &[Kind::Reply, Kind::OtherIcmp, Kind::Error]),
    (Reason::IcmpUnmatched, &[Kind::Error]),
    (Reason::TcpNoFlow, &[Kind::Tcp]),
    (Reason::NatOut, &[]),
    (Reason::NatIn, &[]),
    (Reason::IcmpErrorOut, &[]),
    (Reason::IcmpErrorIn, &[]),
    (Reason::IcmpChecksum, &[]),
    (Reason::Malformed, &[]),
    (Reason::MalformedIn, &[]),
    (Reason::Ipv6, &[]),
    (Reason::NotIp, &[]),
    (Reason::Vlan, &[]),
];

/// Whether a packet of this kind that no flow knows may end so.
pub(crate) fn may_end(kind: Kind, end: Reason) -> bool {
    TELLING.iter().find(|(reason, _)| *reason == end).is_none_or(|(_, kinds)| kinds.contains(&kind))
}
