//! A packet's way, from the top.

use vnet_common::{
    account::Reason,
    flow::Direction,
    policy::{Link, role},
};

use crate::{
    flow,
    kernel::{
        flows::Entry,
        frame::{Frame, ethertype},
        maps,
    },
    packet::{self, Kind, Packet},
    policy,
    quote::{self, End},
    rewrite, translate,
};

/// Bytes of an Ethernet header.
const ETHERNET: u32 = 14;

/// Why the packet's way ends. `packet` holds what it was, as far as it was looked at.
#[inline(always)]
pub fn run(frame: &mut Frame, direction: Direction, packet: &mut Packet) -> Reason {
    let link = match managed(frame) {
        Ok(link) => link,
        Err(reason) => return reason,
    };
    let l3 = if link.header == 0 { 0 } else { ETHERNET };
    match packet::parse(frame, packet, l3, frame.length()) {
        Ok(()) => (),
        Err(_) if direction == Direction::In => return Reason::MalformedIn,
        Err(reason) => return reason,
    }
    let outcome = match direction {
        Direction::In => inward(frame, packet, link),
        Direction::Out => outward(frame, packet, link),
    };
    outcome.unwrap_or_else(|reason| reason)
}

/// The uplink this packet crosses, if it is one that NAT looks at.
#[inline(always)]
fn managed(frame: &Frame) -> Result<&'static Link, Reason> {
    if frame.tagged() {
        return Err(Reason::Vlan);
    }
    match frame.ethertype() {
        ethertype::IPV4 => (),
        ethertype::IPV6 => return Err(Reason::Ipv6),
        ethertype::VLAN | ethertype::SERVICE_VLAN => return Err(Reason::Vlan),
        _ => return Err(Reason::NotIp),
    }
    let link = maps::link(frame.device()).ok_or(Reason::Unmanaged)?;
    if link.roles & role::UPLINK == 0 {
        return Err(Reason::Inside);
    }
    Ok(link)
}

#[inline(always)]
fn outward(frame: &mut Frame, packet: &Packet, link: &Link) -> Result<Reason, Reason> {
    if packet.kind == Kind::Error {
        return error_outward(frame, packet, link);
    }
    let device = frame.device();
    let entry = match flow::known(packet, Direction::Out, device) {
        Some(entry) if policy::still_ours(&entry, link) => entry,
        outdated => {
            if let Some(entry) = outdated {
                translate::end(&packet.key, entry);
            }
            policy::admit(frame, packet, link)?;
            flow::known(packet, Direction::Out, device).ok_or(Reason::MappingRace)?
        }
    };
    flow::forward(frame, packet, entry, Direction::Out)?;
    Ok(Reason::NatOut)
}

#[inline(always)]
fn inward(frame: &mut Frame, packet: &Packet, link: &Link) -> Result<Reason, Reason> {
    if packet.kind == Kind::Error {
        return error_inward(frame, packet, link);
    }
    match flow::known(packet, Direction::In, frame.device()) {
        Some(entry) => {
            flow::forward(frame, packet, entry, Direction::In)?;
            Ok(Reason::NatIn)
        }
        None => Ok(policy::unwanted(frame, packet, link)),
    }
}

/// An error about a packet that came in: the quoted destination becomes the outside endpoint
/// again, and the error comes from the outside address, whoever inside sent it. Not inlined, like
/// all that is off the steady path: a program and what it calls share 512 bytes of stack.
#[inline(never)]
fn error_outward(frame: &mut Frame, packet: &Packet, link: &Link) -> Result<Reason, Reason> {
    let quoted = quote::read(frame, packet, End::Destination);
    let found = quoted.and_then(|quote| Some((quote, Entry::find(&quote.key.reversed())?)));
    let Some((quote, entry)) =
        found.filter(|(_, entry)| entry.serves(Direction::Out, frame.device()))
    else {
        return Err(policy::unmatched(frame, packet, link));
    };
    let target = entry.target();
    quote::rewrite(frame, packet, &quote, End::Destination, target.saddr, target.sport)?;
    rewrite::addresses(frame, packet.l3, target.saddr, packet.key.daddr)?;
    Ok(Reason::IcmpErrorOut)
}

/// An error about a packet that went out: it goes to whoever sent that packet.
#[inline(never)]
fn error_inward(frame: &mut Frame, packet: &Packet, link: &Link) -> Result<Reason, Reason> {
    let quoted = quote::read(frame, packet, End::Source);
    let found = quoted.and_then(|quote| Some((quote, Entry::find(&quote.key.reversed())?)));
    let Some((quote, entry)) =
        found.filter(|(_, entry)| entry.serves(Direction::In, frame.device()))
    else {
        return Ok(policy::unwanted(frame, packet, link));
    };
    let target = entry.target();
    quote::rewrite(frame, packet, &quote, End::Source, target.daddr, target.dport)?;
    rewrite::addresses(frame, packet.l3, packet.key.saddr, target.daddr)?;
    Ok(Reason::IcmpErrorIn)
}
