//! May it pass, and as whose: decisions about packets that belong to no known flow.

use vnet_common::{
    Ipv4,
    account::Reason,
    flow::flag,
    policy::{Link, role, source},
    tcp::State,
    translate::pool,
};

use crate::{
    flow,
    kernel::{
        flows::{Entry, Refusal},
        frame::Frame,
        maps,
        ports::Slot,
        socket::{self, Socket},
    },
    opening::Opening,
    packet::{Kind, Packet},
    translate,
};

/// Whether the flow's outside address is still one of the uplink's. An address that is gone cannot
/// be answered; the next packet starts anew on the present one.
#[inline(always)]
#[must_use]
pub fn still_ours(entry: &Entry, link: &Link) -> bool {
    let addr = entry.target().saddr;
    addr == link.addr || maps::source(addr) == Some(source::KEEP)
}

/// Admits a new flow outward and remembers it, or says why the packet goes otherwise.
#[inline(always)]
pub fn admit(frame: &Frame, packet: &Packet, link: &Link) -> Result<(), Reason> {
    let host = from_host(frame, packet, link)?;
    let state = if host { host_opens(frame, packet, link)? } else { inside_opens(packet)? };
    let mut opening = Opening {
        key: packet.key,
        addr: link.addr,
        link: frame.device(),
        port: 0,
        outside: link.outside as u8,
        state,
        flags: if host { flag::HOST } else { 0 },
    };
    open(frame, &mut opening).map_err(|reason| {
        // Others may have used up what there is; the host's own port needs no translation.
        let own = host && !held_inside(link, packet.key.proto, packet.key.sport);
        if own { Reason::Host } else { reason }
    })
}

#[inline(always)]
fn open(frame: &Frame, opening: &mut Opening) -> Result<(), Reason> {
    let config = maps::config().ok_or(Reason::Unmanaged)?;
    translate::acquire(frame, opening, config)?;
    flow::remember(opening).or_else(|refusal| {
        translate::release(opening.outside, opening.key.proto, opening.port);
        match refusal {
            // Another CPU made the same flow at this moment: it will be found.
            Refusal::Exists => Ok(()),
            Refusal::Full => Err(Reason::FlowsFull),
        }
    })
}

/// Whether this host sent it, as the outside address itself. Everything that is neither that nor
/// an inside host's ends here.
#[inline(always)]
fn from_host(frame: &Frame, packet: &Packet, link: &Link) -> Result<bool, Reason> {
    let key = &packet.key;
    if key.saddr == link.addr {
        return if unicast(key.daddr) { Ok(true) } else { Err(Reason::Host) };
    }
    let arrived = frame.arrived_on();
    if arrived == 0 && key.saddr == [0; 4] {
        // A host that has no address yet asks for one (RFC 2131).
        return Err(Reason::Host);
    }
    match inside_source(arrived, key.saddr) {
        Some(source::KEEP) => Err(Reason::Host),
        Some(_) if unicast(key.daddr) => Ok(false),
        Some(_) => Err(Reason::MulticastSource),
        None if private(key.saddr) => Err(Reason::PrivateSource),
        None => Err(Reason::Routed),
    }
}

#[inline(always)]
fn inside_source(arrived: u32, addr: Ipv4) -> Option<u32> {
    let by_device =
        arrived != 0 && maps::link(arrived).is_some_and(|link| link.roles & role::INSIDE != 0);
    if by_device { Some(source::TRANSLATE) } else { maps::source(addr) }
}

/// State in which a packet from inside starts a flow.
#[inline(always)]
fn inside_opens(packet: &Packet) -> Result<State, Reason> {
    match packet.kind {
        Kind::Tcp if packet.segment.opens() => Ok(State::SynSent),
        Kind::Tcp if !packet.segment.continues() => Err(Reason::TcpNoFlow),
        // In mid-connection: after a restart, connections whose port is kept go on or end.
        Kind::Tcp => Ok(State::PickedUp),
        Kind::Udp | Kind::Query => Ok(State::Unreplied),
        Kind::Reply | Kind::OtherIcmp | Kind::Error => Err(Reason::IcmpType),
        Kind::Fragment => Err(Reason::Fragment),
        Kind::Other => Err(Reason::Protocol),
    }
}

/// State in which this host's own packet starts a flow. Its answers to others do not: what comes
/// from outside must not create state. A port that a socket is bound to is safe without any,
/// because sockets are asked before a port is handed out.
#[inline(always)]
fn host_opens(frame: &Frame, packet: &Packet, link: &Link) -> Result<State, Reason> {
    match packet.kind {
        Kind::Tcp if packet.segment.opens() => Ok(State::SynSent),
        Kind::Udp if needs_mapping(frame, packet, link) => Ok(State::Unreplied),
        Kind::Query => Ok(State::Unreplied),
        Kind::Tcp
        | Kind::Udp
        | Kind::Reply
        | Kind::OtherIcmp
        | Kind::Error
        | Kind::Fragment
        | Kind::Other => Err(Reason::Host),
    }
}

/// A connected UDP socket is found only by its own peer, and what this host forwards under its own
/// address (another NAT's traffic) has no socket at all: both need a mapping. An open socket needs
/// one only where an inside host has this very conversation.
#[inline(always)]
fn needs_mapping(frame: &Frame, packet: &Packet, link: &Link) -> bool {
    let key = &packet.key;
    if frame.arrived_on() != 0 {
        return true;
    }
    match socket::receiver(frame, &key.reversed()) {
        Socket::Connected => true,
        Socket::Bound => Entry::find(&key.reversed()).is_some(),
        Socket::None => held_inside(link, key.proto, key.sport),
    }
}

/// Whether an inside host holds this port of the outside address.
#[inline(always)]
fn held_inside(link: &Link, proto: u8, port: u16) -> bool {
    let slot = pool::number(link.outside as u8, proto).and_then(|pool| Slot::find(pool, port));
    slot.is_some_and(|slot| slot.held() && !slot.of_host())
}

/// What becomes of an ICMP error on its way out that quotes no known flow.
#[inline(always)]
#[must_use]
pub fn unmatched(frame: &Frame, packet: &Packet, link: &Link) -> Reason {
    match from_host(frame, packet, link) {
        Ok(true) => Reason::Host,
        Ok(false) => Reason::IcmpUnmatched,
        Err(reason) => reason,
    }
}

/// What becomes of a packet from outside that no flow wants.
#[inline(never)]
#[must_use]
pub fn unwanted(frame: &Frame, packet: &Packet, link: &Link) -> Reason {
    let key = &packet.key;
    if key.daddr != link.addr {
        return if unicast(key.daddr) { Reason::NotOurs } else { Reason::Multicast };
    }
    let held = match packet.kind {
        // Of fragments only the first has ports, and only with it the host would answer.
        Kind::Tcp | Kind::Udp | Kind::Fragment => held_inside(link, key.proto, key.dport),
        Kind::Query | Kind::Reply | Kind::Error | Kind::OtherIcmp | Kind::Other => false,
    };
    if held && socket::receiver(frame, key) == Socket::None {
        Reason::Filtered
    } else if packet.kind == Kind::Fragment {
        Reason::FragmentIn
    } else {
        Reason::Unsolicited
    }
}

/// Neither multicast (224.0.0.0/4), reserved nor broadcast (240.0.0.0/4).
#[inline(always)]
fn unicast(addr: Ipv4) -> bool {
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
