//! The programs. One exit: every packet's reason becomes its verdict here and nowhere else.
#![cfg_attr(target_arch = "bpf", no_std, no_main)]
#![cfg_attr(target_arch = "bpf", expect(unsafe_code, reason = "the licence is an exported symbol"))]
#![expect(missing_docs, unreachable_pub, reason = "the entry points' macro makes items of its own")]

use aya_ebpf::{
    macros::{cgroup_sock_addr, classifier, xdp},
    programs::{SockAddrContext, TcContext, XdpContext},
};
use vnet_common::flow::Direction;
use vnet_ebpf::{
    account::{AGAIN, LEARN, NEXT, SIX},
    call,
    decide::{vnet_decide_in, vnet_decide_out},
    expire,
    kernel::{
        calls::Call,
        early::EarlyFrame,
        frame::{Frame, Skb},
    },
    known,
    learn_path::{self, vnet_learn_path},
    order,
    path::vnet_take_path,
    shortcut,
    six::{vnet_six_in, vnet_six_out},
    xdp,
};

/// Packets that a managed device has received.
#[classifier]
pub fn vnet_in(context: TcContext) -> i32 {
    let mut frame = Frame::new(context.skb.skb);
    frame.arrives();
    let mut verdict = shortcut::take(&mut frame);
    if verdict == AGAIN {
        verdict = vnet_take_path(context.skb.skb);
    }
    if verdict != AGAIN {
        return verdict;
    }
    run(context, Direction::In, vnet_decide_in, vnet_six_in)
}

/// Packets that a managed device is about to send.
#[classifier]
pub fn vnet_out(context: TcContext) -> i32 {
    let skb = context.skb.skb;
    if Frame::new(skb).leaves() {
        return NEXT;
    }
    learn_path::begin();
    let verdict = run(context, Direction::Out, vnet_decide_out, vnet_six_out);
    if verdict != LEARN {
        return verdict;
    }
    vnet_learn_path(skb);
    NEXT
}

/// Packets that a managed device has received, before the kernel has made packets of them.
#[xdp]
pub fn vnet_xdp(context: XdpContext) -> u32 {
    xdp::take(&mut EarlyFrame::of(context))
}

/// Run once by the control plane after loading: starts the expiry timer. 0, or a negative errno.
#[classifier]
pub fn vnet_clock(_context: TcContext) -> i32 {
    expire::start()
}

/// Run by the control plane: takes ports out of their pool for a forward, or gives them back.
#[classifier]
pub fn vnet_ports(context: TcContext) -> i32 {
    order::obey(&Frame::of(context))
}

/// A socket of this host connects by IPv4.
#[cgroup_sock_addr(connect4)]
pub fn vnet_connect4(context: SockAddrContext) -> i32 {
    let call = Call::from(context);
    call.learn();
    call::ask4(call);
    GO_ON
}

/// A socket of this host connects by IPv6.
#[cgroup_sock_addr(connect6)]
pub fn vnet_connect6(context: SockAddrContext) -> i32 {
    call::ask6(Call::from(context));
    GO_ON
}

/// A UDP socket of this host sends by IPv4 to somebody it is not connected to.
#[cgroup_sock_addr(sendmsg4)]
pub fn vnet_send4(context: SockAddrContext) -> i32 {
    call::ask4(Call::from(context));
    GO_ON
}

/// A UDP socket of this host is told who has sent to it.
#[cgroup_sock_addr(recvmsg4)]
pub fn vnet_receive4(context: SockAddrContext) -> i32 {
    call::tell4(Call::from(context));
    GO_ON
}

/// The same for an IPv6 socket.
#[cgroup_sock_addr(recvmsg6)]
pub fn vnet_receive6(context: SockAddrContext) -> i32 {
    call::tell6(Call::from(context));
    GO_ON
}

/// A socket of this host is told who it is connected to.
#[cgroup_sock_addr(getpeername4)]
pub fn vnet_peer4(context: SockAddrContext) -> i32 {
    call::tell4(Call::from(context));
    GO_ON
}

/// The same for an IPv6 socket.
#[cgroup_sock_addr(getpeername6)]
pub fn vnet_peer6(context: SockAddrContext) -> i32 {
    call::tell6(Call::from(context));
    GO_ON
}

/// What a program on a socket's call returns: whether the call is allowed is not ours to say.
const GO_ON: i32 = 1;

/// What is known passes; about the rest somebody decides, once.
#[inline(always)]
fn run(
    context: TcContext,
    direction: Direction,
    decide: extern "C" fn(Skb) -> i32,
    six: extern "C" fn(Skb) -> i32,
) -> i32 {
    let mut frame = Frame::of(context);
    let mut verdict = known::pass(&mut frame, direction, false);
    if verdict == SIX {
        return six(frame.skb());
    }
    if verdict == AGAIN {
        verdict = decide(frame.skb());
    }
    if verdict == AGAIN {
        verdict = known::pass(&mut frame, direction, true);
    }
    verdict
}

#[cfg(target_arch = "bpf")]
#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

/// The kernel's own licence check: helpers for GPL-compatible programs are allowed.
#[cfg(target_arch = "bpf")]
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

#[cfg(not(target_arch = "bpf"))]
fn main() {
    eprintln!("these programs run in the kernel: build them with `cargo xtask build`");
}
