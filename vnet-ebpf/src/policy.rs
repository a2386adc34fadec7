//! May it pass, and as whose: decisions about packets that belong to no known flow.

use vnet_common::{
    Ipv4,
    account::Reason,
    block::Blocks,
    flow::{FlowKey, flag, proto},
    policy::{Config, Link, role, source},
    tcp::State,
    translate::pool,
};

use crate::{
    address::{self, Presence},
    forward,
    kernel::{
        desk::desk,
        flows::Entry,
        frame::Frame,
        maps,
        ports::Slot,
        socket::{self, Socket},
    },
    opening::Opening,
    packet::{Bytes, Kind, Packet},
    port::Range,
};

/// Admits a new flow outward: its opening is on the desk then. Or says why the packet goes otherwise.
#[inline(always)]
pub fn admit(frame: &Frame, link: &Link) -> Result<(), Reason> {
    let (Some(desk), Some(config)) = (desk(), maps::config()) else {
        return Err(Reason::Unmanaged);
    };
    let packet = &desk.packet;
    desk.opening = match from_host(frame, packet)? {
        None if to_all(frame, link) => return Err(Reason::MulticastSource),
        Some(number) => {
            if maps::outside_link(number) != Some(frame.device()) {
                // The address of one uplink leaves by another one: answers do not come back here.
                return Err(Reason::Host);
            }
            let state = host_opens(frame, packet, number)?;
            let opening = with_address(&packet.key, number, state, config)?;
            Opening { flags: flag::HOST, ..opening }
        }
        None => opening(&packet.key, link, inside_opens(packet)?, config)?,
    };
    Ok(())
}

/// Whether the frame is for more than one: the broadcast address of a network cannot be told from
/// others, but the kernel has written how it is sent.
#[inline(always)]
fn to_all(frame: &Frame, link: &Link) -> bool {
    let first = if link.header == 0 { None } else { frame.half(0) };
    first.is_some_and(|first| u16::from_be(first) & 0x0100 != 0)
}

/// What an inside host's connection by this uplink starts with.
#[inline(always)]
pub fn opening(
    key: &FlowKey,
    link: &Link,
    state: State,
    config: &Config,
) -> Result<Opening, Reason> {
    let (number, block) = place(key.saddr, link);
    if number - link.outside >= link.outsides {
        // Blocks of more hosts than there are addresses for.
        return Err(Reason::PortsExhausted);
    }
    let number = number as u8;
    let uplink = maps::outside_link(number).ok_or(Reason::Unmanaged)?;
    let number = forward::own_number(key, uplink).unwrap_or(number);
    let opening = with_address(key, number, state, config)?;
    Ok(match block {
        Range::NONE => opening,
        ports => Opening { ports, low: Range::NONE, ..opening },
    })
}

/// Number of the outside address that an inside host has on an uplink, and the ports that it has
/// for itself; [`Range::NONE`] where all ports are everybody's.
#[inline(always)]
#[must_use]
pub fn place(saddr: Ipv4, link: &Link) -> (u32, Range) {
    let place = vnet_place(u32::from_be_bytes(saddr), link.outside, link.outsides);
    let range = Range { min: (place >> 16) as u16, max: place as u16 };
    ((place >> 32) as u32, range)
}

/// The number in the upper half, the first port and the last one below it.
#[expect(unsafe_code, reason = "exported, so that the verifier walks it by itself")]
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn vnet_place(saddr: u32, outside: u32, outsides: u32) -> u64 {
    let link = Link { outside, outsides, ..Link::default() };
    let paired = u64::from(link.paired(saddr.to_be_bytes())) << 32 | 1 << 16;
    let Some(config) = maps::config() else { return paired };
    let Some(blocks) = Blocks::of(config) else { return paired };
    let Some(source) = maps::source(saddr.to_be_bytes()) else { return paired };
    let block = blocks.block(saddr.wrapping_add(source.number));
    let number = u64::from(outside.saturating_add(block.address));
    number << 32 | u64::from(block.min) << 16 | u64::from(block.max)
}

/// The same, given the number of its outside address.
#[inline(always)]
fn with_address(
    key: &FlowKey,
    number: u8,
    state: State,
    config: &Config,
) -> Result<Opening, Reason> {
    Ok(Opening {
        key: *key,
        daddr: key.daddr,
        dport: key.dport,
        addr: maps::outside(number).ok_or(Reason::NoAddress)?,
        link: maps::outside_link(number).ok_or(Reason::Unmanaged)?,
        port: 0,
        ports: ports(key, config),
        low: low_ports(key, config),
        outside: number,
        other: number,
        state,
        flags: 0,
    })
}

/// Outside ports an endpoint may have. Every identifier of an ICMP query may be used: `--ports` is
/// about ports.
#[inline(always)]
pub(crate) fn ports(key: &FlowKey, config: &Config) -> Range {
    match key.proto {
        proto::ICMP => Range { min: 0, max: u16::MAX },
        _ => Range { min: config.port_min, max: config.port_max },
    }
}

/// Who comes from a port below 1024 keeps one (RFC 4787 REQ-3).
#[inline(always)]
pub(crate) fn low_ports(key: &FlowKey, config: &Config) -> Range {
    if key.sport < 1024 && key.proto != proto::ICMP && config.low_min != 0 {
        Range { min: config.low_min, max: config.low_max }
    } else {
        Range::NONE
    }
}

/// Whether the opening on the desk is one of this host's own, which needs no translation.
#[inline(always)]
#[must_use]
pub fn needs_none() -> bool {
    let Some(desk) = desk() else { return false };
    let opening = &desk.opening;
    opening.by_host() && !held_inside(opening.outside, opening.key.proto, opening.key.sport)
}

/// Number of the outside address that this host sent it as; none when it is an inside host's.
/// Everything that is neither ends here.
#[inline(always)]
pub fn from_host(frame: &Frame, packet: &Packet) -> Result<Option<u8>, Reason> {
    let key = &packet.key;
    let found = maps::source(key.saddr);
    if let Some(found) = found.filter(|found| found.action == source::OUTSIDE) {
        return if unicast(key.daddr) { Ok(Some(found.number as u8)) } else { Err(Reason::Host) };
    }
    let arrived = frame.arrived_on();
    if arrived == 0 && key.saddr == [0; 4] {
        // A host that has no address yet asks for one (RFC 2131).
        return Err(Reason::Host);
    }
    let by_device =
        arrived != 0 && maps::link(arrived).is_some_and(|link| link.roles & role::INSIDE != 0);
    match found {
        _ if by_device => translated(key.daddr),
        Some(found) if found.action == source::KEEP => Err(Reason::Host),
        // An address that the uplink has had only since attach.
        _ if arrived == 0 && address::presence(frame, key.saddr) == Presence::Here => {
            Err(Reason::Host)
        }
        Some(_) => translated(key.daddr),
        None if private(key.saddr) => Err(Reason::PrivateSource),
        None => Err(Reason::Routed),
    }
}

/// An inside host's packet to `daddr`.
#[inline(always)]
fn translated(daddr: Ipv4) -> Result<Option<u8>, Reason> {
    match daddr {
        _ if !unicast(daddr) => Err(Reason::MulticastSource),
        _ if maps::excluded(daddr) => Err(Reason::Excluded),
        _ => Ok(None),
    }
}

/// State in which a packet from inside starts a flow.
#[inline(always)]
pub(crate) fn inside_opens(packet: &Packet) -> Result<State, Reason> {
    match packet.kind {
        Kind::Tcp if packet.segment.opens() => Ok(State::SynSent),
        Kind::Tcp if !packet.segment.continues() => Err(Reason::TcpNoFlow),
        // In mid-connection: after a restart, connections whose port is kept go on or end.
        Kind::Tcp => Ok(State::PickedUp),
        // Without ports, one inside host at a time may talk to the same one outside by it.
        Kind::Udp | Kind::Query | Kind::Other => Ok(State::Unreplied),
        Kind::Reply | Kind::OtherIcmp | Kind::Error => Err(Reason::IcmpType),
        Kind::Fragment => Err(Reason::FragmentTiny),
    }
}

/// State in which this host's own packet starts a flow. Its answers to others do not: what comes
/// from outside must not create state. A port that a socket is bound to is safe without any,
/// because sockets are asked before a port is handed out.
#[inline(always)]
pub(crate) fn host_opens(frame: &Frame, packet: &Packet, number: u8) -> Result<State, Reason> {
    match packet.kind {
        Kind::Tcp if packet.segment.opens() => Ok(State::SynSent),
        Kind::Udp if needs_mapping(frame, packet, number) => Ok(State::Unreplied),
        Kind::Query | Kind::Other => Ok(State::Unreplied),
        Kind::Tcp | Kind::Udp | Kind::Reply | Kind::OtherIcmp | Kind::Error | Kind::Fragment => {
            Err(Reason::Host)
        }
    }
}

/// A connected UDP socket is found only by its own peer, and what this host forwards under its own
/// address (another NAT's traffic) has no socket at all: both need a mapping. An open socket needs
/// one only where an inside host has this very conversation.
#[inline(always)]
fn needs_mapping(frame: &Frame, packet: &Packet, number: u8) -> bool {
    let key = &packet.key;
    if frame.arrived_on() != 0 {
        return true;
    }
    match socket::receiver(frame, &key.reversed()) {
        Socket::Connected => true,
        Socket::Bound => Entry::find(&key.reversed()).is_some(),
        Socket::None => held_inside(number, key.proto, key.sport),
    }
}

/// Whether an inside host holds this port of an outside address.
#[inline(always)]
#[must_use]
pub fn held_inside(outside: u8, proto: u8, port: u16) -> bool {
    let slot = pool::number(outside, proto).and_then(|pool| Slot::find(pool, port));
    slot.is_some_and(|slot| slot.held() && !slot.of_host())
}

/// What becomes of an ICMP error on its way out that quotes no known flow.
#[inline(always)]
#[must_use]
pub fn unmatched(frame: &Frame, packet: &Packet) -> Reason {
    match from_host(frame, packet) {
        Ok(Some(_)) => Reason::Host,
        Ok(None) => Reason::IcmpUnmatched,
        Err(reason) => reason,
    }
}

/// Neither multicast (224.0.0.0/4), reserved nor broadcast (240.0.0.0/4).
#[inline(always)]
#[must_use]
pub fn unicast(addr: Ipv4) -> bool {
    addr[0] < 224
}

/// Addresses that mean nothing outside: RFC 1918, RFC 6598, RFC 3927, RFC 1122 3.2.1.3.
#[inline(always)]
fn private(addr: Ipv4) -> bool {
    let [a, b, ..] = addr;
    matches!(a, 0 | 10 | 127)
        || a == 172 && b & 0xf0 == 16
        || a == 192 && b == 168
        || a == 100 && b & 0xc0 == 64
        || a == 169 && b == 254
}
