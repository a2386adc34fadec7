//! Opening a connection: a port for it, then both of its entries, or nothing.

use vnet_common::account::Reason;

use crate::{
    flow,
    kernel::{
        desk::desk,
        flows::Refusal,
        frame::{Frame, Skb},
        maps,
    },
    policy, translate,
};

/// Not an end: the connection is open, and its packet is one of a known flow.
pub const OPENED: u32 = 0xff;

/// Opens the connection that is on the desk: [`OPENED`], or the end of its packet.
#[inline(always)]
pub fn open(frame: &Frame) -> u32 {
    let code = vnet_open(frame.skb());
    // Others may have used up what there is; the host's own port needs no translation.
    if code != OPENED && policy::needs_none() { Reason::Host as u32 } else { code }
}

#[expect(unsafe_code, reason = "exported, so that the verifier walks it by itself")]
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn vnet_open(skb: Skb) -> u32 {
    let mut frame = Frame::new(skb);
    match translate::acquire(&mut frame) {
        Ok(()) => vnet_remember(),
        Err(reason) => reason as u32,
    }
}

/// Remembers the connection that is on the desk and has its port.
#[expect(unsafe_code, reason = "exported, so that the verifier walks it by itself")]
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn vnet_remember() -> u32 {
    let (Some(desk), Some(config)) = (desk(), maps::config()) else {
        return Reason::Unmanaged as u32;
    };
    let opening = &desk.opening;
    match flow::remember(opening, config.epoch) {
        Ok(()) => OPENED,
        Err(refusal) => {
            translate::release(opening.outside, opening.key.proto, opening.port);
            match refusal {
                // Another CPU made the same flow at this moment: it will be found.
                Refusal::Exists => OPENED,
                Refusal::Full => Reason::FlowsFull as u32,
            }
        }
    }
}
