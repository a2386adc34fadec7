//! The host's own sockets: a port that one of them owns is never handed out.

use aya_ebpf::{
    bindings::bpf_sock_tuple__bindgen_ty_1__bindgen_ty_1 as Tuple,
    helpers::{bpf_sk_lookup_udp, bpf_sk_release, bpf_skc_lookup_tcp},
};
use vnet_common::{
    flow::{FlowKey, proto},
    nat66::Handle,
};

use super::{
    addresses6::same,
    desk::desk,
    frame::{Frame, Skb},
};

/// `BPF_F_CURRENT_NETNS`: the namespace of the device the program runs on.
const THIS_NAMESPACE: u64 = u64::MAX;
/// State of a UDP socket that has been connected (the kernel reuses TCP's number).
const CONNECTED: u32 = 1;
/// State of a TCP socket that listens.
const LISTENING: u32 = 10;

/// What kind of socket answers to a tuple.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Socket {
    /// None.
    None,
    /// A TCP socket that listens, or a UDP socket that is open to all.
    Bound,
    /// A socket that is connected to this very peer.
    Connected,
}

/// The host's socket that would receive a packet with this tuple. Where addresses are handles, they
/// are those of the packet on the desk and of its uplink.
#[inline(always)]
#[must_use]
pub fn receiver(frame: &Frame, key: &FlowKey) -> Socket {
    let Some(desk) = desk() else { return Socket::None };
    let ports = (u32::from(key.sport) << 16 | u32::from(key.dport)).to_be();
    let six = Handle::read(key.daddr).is_some();
    let (saddr, daddr) = (u32::from_ne_bytes(key.saddr), u32::from_ne_bytes(key.daddr));
    if six {
        desk.tuple[8] = ports;
    } else {
        (desk.tuple[0], desk.tuple[1], desk.tuple[2]) = (saddr, daddr, ports);
    }
    match vnet_receiver(frame.skb(), key.proto.into(), six.into()) {
        1 => Socket::Bound,
        2 => Socket::Connected,
        _ => Socket::None,
    }
}

/// Bytes of an IPv4 tuple, and of an IPv6 one: the helpers tell them apart by that.
const SIZE: u32 = size_of::<Tuple>() as u32;
const SIZE6: u32 = size_of::<[u32; 9]>() as u32;

/// The same for the tuple on the desk, which lies there because stack is scarce at the end of a chain
/// of calls: 0 = none, 1 = bound, 2 = connected.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn vnet_receiver(skb: Skb, protocol: u32, six: u32) -> u32 {
    let frame = Frame::new(skb);
    let Some(desk) = desk() else { return 0 };
    if six != 0 {
        let far = same(&desk.six.daddr, &desk.own6);
        for word in 0..4 {
            let (saddr, daddr) = (desk.six.saddr[word], desk.six.daddr[word]);
            desk.tuple[word] = if far { saddr } else { daddr };
            // One by one: a call that copies them would need stack.
            // SAFETY: a word of the desk's own.
            desk.tuple[4 + word] = unsafe { (&raw const desk.own6[word]).read_volatile() };
        }
    }
    let size = if six != 0 { SIZE6 } else { SIZE };
    let tuple = desk.tuple.as_mut_ptr().cast();
    let found = match protocol as u8 {
        proto::TCP => tcp(&frame, tuple, size),
        proto::UDP => udp(&frame, tuple, size),
        _ => Socket::None,
    };
    match found {
        Socket::None => 0,
        Socket::Bound => 1,
        Socket::Connected => 2,
    }
}

#[inline(always)]
fn tcp(frame: &Frame, tuple: *mut Tuple, size: u32) -> Socket {
    // SAFETY: the helper reads `size` bytes, which the tuple has; the reference that the helper takes on a
    // socket is given back.
    unsafe {
        let socket = bpf_skc_lookup_tcp(frame.raw(), tuple.cast(), size, THIS_NAMESPACE, 0);
        if socket.is_null() {
            return Socket::None;
        }
        let state = (*socket).state;
        bpf_sk_release(socket.cast());
        if state == LISTENING { Socket::Bound } else { Socket::Connected }
    }
}

#[inline(always)]
fn udp(frame: &Frame, tuple: *mut Tuple, size: u32) -> Socket {
    // SAFETY: as in `tcp`.
    unsafe {
        let socket = bpf_sk_lookup_udp(frame.raw(), tuple.cast(), size, THIS_NAMESPACE, 0);
        if socket.is_null() {
            return Socket::None;
        }
        let state = (*socket).state;
        bpf_sk_release(socket.cast());
        if state == CONNECTED { Socket::Connected } else { Socket::Bound }
    }
}
