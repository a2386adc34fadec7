//! The host's own sockets: a port that one of them owns is never handed out.

use aya_ebpf::{
    bindings::bpf_sock_tuple__bindgen_ty_1__bindgen_ty_1 as Tuple,
    helpers::{bpf_sk_lookup_udp, bpf_sk_release, bpf_skc_lookup_tcp},
};
use vnet_common::flow::{FlowKey, proto};

use super::frame::Frame;

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

/// The host's socket that would receive a packet with this tuple.
#[inline(always)]
#[must_use]
pub fn receiver(frame: &Frame, key: &FlowKey) -> Socket {
    let mut tuple = Tuple {
        saddr: u32::from_ne_bytes(key.saddr),
        daddr: u32::from_ne_bytes(key.daddr),
        sport: key.sport.to_be(),
        dport: key.dport.to_be(),
    };
    match key.proto {
        proto::TCP => tcp(frame, &mut tuple),
        proto::UDP => udp(frame, &mut tuple),
        _ => Socket::None,
    }
}

/// Bytes of an IPv4 tuple. The helpers take it for what it is by that, and not the union with IPv6's,
/// which is three times as long: what is asked for at the end of a chain of calls counts on the stack.
const SIZE: u32 = size_of::<Tuple>() as u32;

#[inline(always)]
fn tcp(frame: &Frame, tuple: &mut Tuple) -> Socket {
    let tuple = core::ptr::from_mut(tuple);
    // SAFETY: the helper reads SIZE bytes, which the tuple has; the reference that the helper takes on a
    // socket is given back.
    unsafe {
        let socket = bpf_skc_lookup_tcp(frame.raw(), tuple.cast(), SIZE, THIS_NAMESPACE, 0);
        if socket.is_null() {
            return Socket::None;
        }
        let state = (*socket).state;
        bpf_sk_release(socket.cast());
        if state == LISTENING { Socket::Bound } else { Socket::Connected }
    }
}

#[inline(always)]
fn udp(frame: &Frame, tuple: &mut Tuple) -> Socket {
    let tuple = core::ptr::from_mut(tuple);
    // SAFETY: as in `tcp`.
    unsafe {
        let socket = bpf_sk_lookup_udp(frame.raw(), tuple.cast(), SIZE, THIS_NAMESPACE, 0);
        if socket.is_null() {
            return Socket::None;
        }
        let state = (*socket).state;
        bpf_sk_release(socket.cast());
        if state == CONNECTED { Socket::Connected } else { Socket::Bound }
    }
}
