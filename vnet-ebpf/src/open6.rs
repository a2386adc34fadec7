//! What a connection of IPv6 starts with: who may open one, as whose, and a use of both addresses.

use vnet_common::{
    account::Reason,
    flow::{FlowKey, flag},
    nat66::Uplink6,
    tcp::State,
};

use crate::{
    inbound,
    kernel::{
        addresses6::{self, same},
        desk::{Desk, desk},
        frame::{Frame, Skb},
        maps,
        socket::{self, Socket},
        uplinks6,
    },
    open,
    opening::Opening,
    packet::Kind,
    policy,
    port::Range,
};

/// Admits a new flow outward: its opening is on the desk then, with a use of both addresses.
#[expect(unsafe_code, reason = "exported, so that the verifier walks it by itself")]
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn vnet_admit66(skb: Skb) -> u32 {
    let frame = Frame::new(skb);
    let Some(desk) = desk() else { return Reason::Unmanaged as u32 };
    let Some(uplink) = uplinks6::uplink(frame.device()) else { return Reason::Ipv6 as u32 };
    let number = uplink.outside as u8;
    let by_host = same(&desk.six.saddr, &desk.own6);
    let opens = if by_host {
        policy::host_opens(&frame, &desk.packet, number)
    } else {
        policy::inside_opens(&desk.packet)
    };
    let state = match opens {
        Ok(state) => state,
        Err(reason) => return reason as u32,
    };
    let source = if by_host { Some(uplink.handle) } else { addresses6::acquire(&desk.six.saddr) };
    let Some(saddr) = source else { return Reason::Address6 as u32 };
    let Some(daddr) = addresses6::acquire(&desk.six.daddr) else {
        addresses6::release(saddr);
        return Reason::Address6 as u32;
    };
    (desk.packet.key.saddr, desk.packet.key.daddr) = (saddr, daddr);
    let Some(config) = maps::config() else { return Reason::Unmanaged as u32 };
    let key = desk.packet.key;
    desk.opening = Opening {
        ports: policy::ports(&key, config),
        low: policy::low_ports(&key, config),
        flags: if by_host { flag::HOST } else { 0 },
        ..opening(key, uplink, &frame, state)
    };
    open::OPENED
}

#[inline(always)]
pub(crate) fn opening(key: FlowKey, uplink: &Uplink6, frame: &Frame, state: State) -> Opening {
    Opening {
        key,
        daddr: key.daddr,
        dport: key.dport,
        addr: uplink.handle,
        link: frame.device(),
        port: 0,
        ports: Range::NONE,
        low: Range::NONE,
        outside: uplink.outside as u8,
        other: uplink.outside as u8,
        state,
        flags: 0,
    }
}

/// Gives back what an opening had that came to nothing.
#[expect(unsafe_code, reason = "exported, so that the verifier walks it by itself")]
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn vnet_unadmit66() -> u32 {
    let Some(opening) = desk().map(|desk| desk.opening) else { return 0 };
    addresses6::release(opening.key.saddr);
    addresses6::release(opening.daddr);
    0
}

/// The end of a packet from outside that no flow wants; or its opening is on the desk, as
/// [`vnet_admit66`] puts it there.
#[expect(unsafe_code, reason = "exported, so that the verifier walks it by itself")]
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn vnet_invite66(skb: Skb) -> u32 {
    let frame = Frame::new(skb);
    let Some(desk) = desk() else { return Reason::Unmanaged as u32 };
    let Some(uplink) = uplinks6::uplink(frame.device()) else { return Reason::Ipv6 as u32 };
    let (number, key) = (uplink.outside as u8, desk.packet.key);
    let ported = matches!(desk.packet.kind, Kind::Tcp | Kind::Udp);
    if !ported || !policy::held_inside(number, key.proto, key.dport) {
        return Reason::Unsolicited as u32;
    }
    let to = FlowKey { daddr: uplink.handle, ..key };
    if socket::receiver(&frame, &to) != Socket::None {
        return Reason::Unsolicited as u32;
    }
    if !inbound::welcome(&desk.packet, number) {
        return Reason::Filtered as u32;
    }
    match invitation(&frame, desk, uplink) {
        Some(opening) => {
            desk.opening = opening;
            open::OPENED
        }
        None => Reason::Address6 as u32,
    }
}

#[inline(always)]
fn invitation(frame: &Frame, desk: &mut Desk, uplink: &Uplink6) -> Option<Opening> {
    let packet = &desk.packet;
    let (holder, port) = inbound::slot(packet, uplink.outside as u8)?.holder();
    let saddr = addresses6::read(holder, &mut desk.new6)
        .then(|| addresses6::acquire(&desk.new6))
        .flatten()?;
    let Some(daddr) = addresses6::acquire(&desk.six.saddr) else {
        addresses6::release(saddr);
        return None;
    };
    let key = FlowKey { saddr, daddr, sport: port, dport: packet.key.sport, ..packet.key };
    let state = if packet.kind == Kind::Tcp { State::SynSent } else { State::Unreplied };
    let ports = Range { min: packet.key.dport, max: packet.key.dport };
    let port = packet.key.dport;
    Some(Opening { port, ports, flags: flag::INVITED, ..opening(key, uplink, frame, state) })
}
