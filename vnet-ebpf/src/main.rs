//! The programs. One exit: every packet's reason becomes its verdict here and nowhere else.
#![cfg_attr(target_arch = "bpf", no_std, no_main)]
#![cfg_attr(target_arch = "bpf", expect(unsafe_code, reason = "the licence is an exported symbol"))]
#![expect(missing_docs, unreachable_pub, reason = "the entry points' macro makes items of its own")]

use aya_ebpf::{macros::classifier, programs::TcContext};
use vnet_common::flow::Direction;
use vnet_ebpf::{
    account::AGAIN,
    decide::{vnet_decide_in, vnet_decide_out},
    expire,
    kernel::frame::{Frame, Skb},
    known, order,
};

/// Packets that a managed device has received.
#[classifier]
pub fn vnet_in(context: TcContext) -> i32 {
    run(context, Direction::In, vnet_decide_in)
}

/// Packets that a managed device is about to send.
#[classifier]
pub fn vnet_out(context: TcContext) -> i32 {
    run(context, Direction::Out, vnet_decide_out)
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

/// What is known passes; about the rest somebody decides, once.
#[inline(always)]
fn run(context: TcContext, direction: Direction, decide: extern "C" fn(Skb) -> i32) -> i32 {
    let mut frame = Frame::of(context);
    let mut verdict = known::pass(&mut frame, direction, false);
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
