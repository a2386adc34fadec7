//! ICMPv6 errors about packets that were translated, both ways.

use vnet_common::{
    account::Reason,
    flow::{Direction, FlowKey, proto},
    nat66::Uplink6,
};

use crate::{
    kernel::{
        desk::{Desk, desk},
        flows::Entry,
        frame::{Frame, Skb},
        uplinks6,
    },
    nat66::{handle, inside, is_still, unique_local, write},
    packet6::{self, DESTINATION, Packet6, SOURCE, Words},
    quote::End,
    quote6,
};

/// An error about a packet of a flow: what it quotes becomes what its receiver knows, and on its way
/// out it comes from the outside address, whoever inside sent it.
#[expect(unsafe_code, reason = "exported, so that the verifier walks it by itself")]
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn vnet_error66(skb: Skb, direction: u32) -> u32 {
    let mut frame = Frame::new(skb);
    let Some(desk) = desk() else { return Reason::Unmanaged as u32 };
    let Some(uplink) = uplinks6::uplink(frame.device()) else { return Reason::Ipv6 as u32 };
    let done = if direction == Direction::Out as u32 {
        error_out(&mut frame, desk, uplink)
    } else {
        error_in(&mut frame, desk, uplink)
    };
    match done {
        Ok(reason) | Err(reason) => reason as u32,
    }
}

#[inline(always)]
fn error_out(frame: &mut Frame, desk: &mut Desk, uplink: &Uplink6) -> Result<Reason, Reason> {
    let error = &desk.packet;
    let ports = quote6::read(frame, &mut desk.quoted, error, End::Destination);
    let quoted = &desk.quoted;
    let found = ports.and_then(|ports| find(quoted, ports, &desk.own6, uplink));
    let of_host = frame.arrived_on() == 0 && !unique_local(&desk.six.saddr);
    let Some(entry) = found.filter(|entry| entry.serves(Direction::Out, frame.device())) else {
        return Err(if of_host { Reason::Host } else { Reason::IcmpUnmatched });
    };
    if !quote6::sound(frame, error, &desk.six) {
        return Err(Reason::IcmpChecksum);
    }
    let port = (ports.map_or(0, |(_, dport)| dport), entry.target().sport);
    quote6::rewrite(frame, error, quoted, End::Destination, &desk.own6, port)?;
    if !of_host {
        write(frame, error, SOURCE, (&desk.six.saddr, &desk.own6), (0, 0))?;
    }
    Ok(Reason::IcmpErrorOut)
}

#[inline(always)]
fn error_in(frame: &mut Frame, desk: &mut Desk, uplink: &Uplink6) -> Result<Reason, Reason> {
    let error = &desk.packet;
    let ports = quote6::read(frame, &mut desk.quoted, error, End::Source);
    let quoted = &desk.quoted;
    let found = ports.and_then(|ports| find(quoted, ports, &desk.own6, uplink));
    let Some(entry) = found.filter(|entry| entry.serves(Direction::In, frame.device())) else {
        return Err(Reason::Unsolicited);
    };
    if !quote6::sound(frame, error, &desk.six) {
        return Err(Reason::IcmpChecksum);
    }
    let target = entry.target();
    inside(target.daddr, uplink, &desk.own6, &mut desk.new6)?;
    let port = (ports.map_or(0, |(sport, _)| sport), target.dport);
    quote6::rewrite(frame, error, quoted, End::Source, &desk.new6, port)?;
    write(frame, error, DESTINATION, (&desk.own6, &desk.new6), (0, 0))?;
    Ok(Reason::IcmpErrorIn)
}

/// The entry of what answers the quoted packet.
#[inline(always)]
pub(crate) fn find(
    quoted: &Packet6,
    (sport, dport): (u16, u16),
    own: &Words,
    uplink: &Uplink6,
) -> Option<Entry> {
    let proto = match quoted.proto {
        packet6::ICMP => proto::ICMP,
        other => other,
    };
    let saddr = handle(&quoted.daddr, own, uplink)?;
    let daddr = handle(&quoted.saddr, own, uplink)?;
    let key = FlowKey { saddr, daddr, sport: dport, dport: sport, proto, reserved: [0; 3] };
    let entry = Entry::find(&key)?;
    let still = is_still(saddr, &quoted.daddr, uplink) && is_still(daddr, &quoted.saddr, uplink);
    still.then_some(entry)
}
