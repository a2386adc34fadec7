//! This host's own sockets and forwards: who asks for a forwarded port of an outside address, of
//! 127.0.0.0/8 or of ::1 is led to the inside host as it asks, and believes to be where it had asked to go.
//!
//! Only sockets of the instance's own network namespace are touched. A service of this host on a loopback
//! address keeps its port there, and a socket that is itself bound to the loopback cannot leave it.

use vnet_common::{
    Ipv4,
    call::{Asked, Led},
    flow::proto,
    forward::Forward,
};

use crate::{
    inbound,
    kernel::{
        calls::{self, Call, Words6},
        forwards,
    },
};

/// First byte of the addresses of the loopback.
const LOOPBACK: u8 = 127;
/// What an IPv4 address in the clothes of an IPv6 one begins with: ::ffff:0:0/96.
const MAPPED: [u32; 3] = [0, 0, 0xffff_u32.to_be()];
/// ::1.
const LOCALHOST6: Words6 = [0, 0, 0, 1_u32.to_be()];

/// A socket asks for an IPv4 address.
#[inline(always)]
pub fn ask4(call: Call) {
    if !call.is_at_home() {
        return;
    }
    if let Some((addr, port)) = led4(call, call.addr4()) {
        call.set4(addr, port);
    }
}

/// A socket asks for an IPv6 address. From ::1 it gets to an IPv4 address; the kernel lets it, unless the
/// socket is one for IPv6 only.
#[inline(always)]
pub fn ask6(call: Call) {
    if !call.is_at_home() {
        return;
    }
    let words = call.addr6();
    let led = if words == LOCALHOST6 {
        led6(call)
    } else {
        mapped(words).and_then(|addr| led4(call, addr))
    };
    if let Some((addr, port)) = led {
        call.set6(dressed(addr), port);
    }
}

/// A socket is told the IPv4 address of who it talks to, or who has sent.
#[inline(always)]
pub fn tell4(call: Call) {
    if !call.is_at_home() {
        return;
    }
    if let Some(asked) = asked(call, call.addr4()) {
        call.set4(asked.addr, asked.port);
    }
}

/// The same for an IPv6 socket.
#[inline(always)]
pub fn tell6(call: Call) {
    if !call.is_at_home() {
        return;
    }
    if let Some(asked) = mapped(call.addr6()).and_then(|addr| asked(call, addr)) {
        let addr = if asked.addr == Ipv4::default() { LOCALHOST6 } else { dressed(asked.addr) };
        call.set6(addr, asked.port);
    }
}

/// Where a socket is led that asks for an IPv4 address.
#[inline(always)]
fn led4(call: Call, addr: Ipv4) -> Option<(Ipv4, u16)> {
    let (proto, port) = tracked(call)?;
    let forward = if addr[0] == LOOPBACK {
        forwards::from_loopback(proto, port).filter(|_| !call.is_awaited4(addr, port))?
    } else {
        forwards::from_outside(inbound::outside(addr)?, proto, port)?
    };
    lead(call, forward, Asked { addr, port, reserved: 0 })
}

/// Where a socket is led that asks for ::1.
#[inline(always)]
fn led6(call: Call) -> Option<(Ipv4, u16)> {
    let (proto, port) = tracked(call)?;
    let forward = forwards::from_loopback(proto, port)?;
    if call.is_awaited6(LOCALHOST6, port) {
        return None;
    }
    lead(call, forward, Asked { addr: Ipv4::default(), port, reserved: 0 })
}

/// Protocol and port, if there are forwards of that protocol.
#[inline(always)]
fn tracked(call: Call) -> Option<(u8, u16)> {
    let proto = call.proto();
    matches!(proto, proto::TCP | proto::UDP).then(|| (proto, call.port()))
}

/// Leads a socket there, and notes what it had asked for.
#[inline(always)]
fn lead(call: Call, forward: &Forward, asked: Asked) -> Option<(Ipv4, u16)> {
    // The kernel would send from the loopback's address, and nobody could answer.
    if call.bound()[0] == LOOPBACK {
        return None;
    }
    let (addr, port) = (forward.inside, forward.inward(asked.port));
    let led = Led { socket: call.socket(), addr, port, reserved: 0 };
    if calls::asked(&led) != Some(asked) {
        calls::note(&led, &asked);
    }
    Some((addr, port))
}

/// What the socket had asked for that was led to this address and port.
#[inline(always)]
fn asked(call: Call, addr: Ipv4) -> Option<Asked> {
    calls::asked(&Led { socket: call.socket(), addr, port: call.port(), reserved: 0 })
}

/// The IPv4 address in an IPv6 one.
#[inline(always)]
fn mapped(words: Words6) -> Option<Ipv4> {
    ([words[0], words[1], words[2]] == MAPPED).then(|| words[3].to_ne_bytes())
}

/// An IPv4 address as an IPv6 one.
#[inline(always)]
fn dressed(addr: Ipv4) -> Words6 {
    [MAPPED[0], MAPPED[1], MAPPED[2], u32::from_ne_bytes(addr)]
}
