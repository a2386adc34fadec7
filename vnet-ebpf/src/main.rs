//! The programs. One exit: every packet's reason becomes its verdict here and nowhere else.
#![cfg_attr(target_arch = "bpf", no_std, no_main)]
#![cfg_attr(target_arch = "bpf", expect(unsafe_code, reason = "the licence is an exported symbol"))]
#![expect(missing_docs, unreachable_pub, reason = "the entry points' macro makes items of its own")]

use aya_ebpf::{macros::classifier, programs::TcContext};
use vnet_common::{account::Verdict, flow::Direction};
use vnet_ebpf::{account, expire, kernel::frame::Frame, packet::Packet, run::run};

/// The next program decides, and where there is none the packet goes on (`TCX_NEXT`,
/// `TC_ACT_UNSPEC`).
const NEXT: i32 = -1;
/// The packet ends here (`TC_ACT_SHOT`).
const SHOT: i32 = 2;

/// Packets that a managed device has received.
#[classifier]
pub fn vnet_in(context: TcContext) -> i32 {
    finish(context, Direction::In)
}

/// Packets that a managed device is about to send.
#[classifier]
pub fn vnet_out(context: TcContext) -> i32 {
    finish(context, Direction::Out)
}

/// Run once by the control plane after loading: starts the expiry timer. 0, or a negative errno.
#[classifier]
pub fn vnet_clock(_context: TcContext) -> i32 {
    expire::start()
}

#[inline(always)]
fn finish(context: TcContext, direction: Direction) -> i32 {
    let mut frame = Frame::new(context);
    let mut packet = Packet::UNKNOWN;
    let reason = run(&mut frame, direction, &mut packet);
    account::tally(&frame, &packet, reason);
    account::log(&frame, direction, &packet, reason);
    match reason.verdict() {
        Verdict::Pass => NEXT,
        Verdict::Drop => SHOT,
    }
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
