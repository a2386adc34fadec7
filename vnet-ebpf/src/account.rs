//! Every end is counted, and said aloud when somebody listens.

use aya_log_ebpf::{debug, warn};
use vnet_common::{
    account::{Reason, Verdict},
    flow::Direction,
};

/// The next program decides, and where there is none the packet goes on (`TCX_NEXT`,
/// `TC_ACT_UNSPEC`).
pub const NEXT: i32 = -1;
/// The packet ends here (`TC_ACT_SHOT`).
pub const SHOT: i32 = 2;
/// The packet goes where `bpf_redirect` was told (`TC_ACT_REDIRECT`).
pub const REDIRECT: i32 = 7;
/// Not a verdict: the packet has not met its end.
pub const AGAIN: i32 = i32::MAX;

/// Not a verdict: somebody has to decide about a packet of IPv6.
pub const SIX: i32 = i32::MAX - 1;
/// Not a verdict: the packet goes on ([`NEXT`]), and how it leaves is to be noted.
pub const LEARN: i32 = i32::MAX - 2;

/// Bit `n` is set when reason number `n` has this verdict.
const fn with(verdict: Verdict) -> u64 {
    let (mut set, mut i) = (0, 0);
    while i < Reason::ALL.len() {
        if Reason::ALL[i].verdict() as u8 == verdict as u8 {
            set |= 1 << i;
        }
        i += 1;
    }
    set
}
const DROPS: u64 = with(Verdict::Drop);
const SHORTCUTS: u64 = with(Verdict::Shortcut);
const _: () = assert!(Reason::ALL.len() <= 64);

use crate::{
    kernel::{
        desk::desk,
        early::{EarlyFrame, Md},
        frame::{Frame, Skb, Wire},
        maps,
    },
    packet::Packet,
    packet6::bytes,
};

/// Counts the packet's end, as the packets it is on the wire, and returns the verdict. `payload` is
/// where its headers end; `reason` is a [`Reason`] as a number.
#[inline(always)]
pub fn tally(frame: &Frame, payload: u32, reason: u32) -> i32 {
    tally_wire(frame.on_wire(0, payload, frame.length()), reason)
}

/// The same, given what the packet is on the wire.
#[inline(always)]
pub fn tally_wire(wire: Wire, reason: u32) -> i32 {
    maps::count(reason, wire);
    let is_in = |set: u64| set >> (reason & 63) & 1 != 0;
    match () {
        () if is_in(DROPS) => SHOT,
        () if is_in(SHORTCUTS) => REDIRECT,
        () => NEXT,
    }
}

/// Says a decision at one level. `reason` and `hook` are numbers here, because text tables do not
/// survive the trip into the kernel; whoever prints the log gives them their names.
macro_rules! say {
    ($level:ident, $frame:expr, $saddr:expr, $daddr:expr, $ports:expr, $what:expr) => {
        $level!(
            $frame.context(),
            "dev={} hook={} reason={} proto={} {:i}:{} > {:i}:{}",
            $frame.device(),
            $what >> 16 & 3,
            $what & 0xff,
            $what >> 8 & 0xff,
            u32::from_be($saddr),
            $ports >> 16,
            u32::from_be($daddr),
            $ports & 0xffff
        )
    };
}

/// Logs the decision: drops as warnings, the rest for debugging. The verifier removes what is below
/// the level the programs were loaded with.
#[inline(always)]
pub fn log(frame: &Frame, direction: Direction, packet: &Packet, reason: u32) {
    let hook = u32::from(direction == Direction::Out);
    if maps::logs() {
        let (saddr, daddr, ports, what) = words(hook, packet, reason);
        vnet_log(frame.skb(), saddr, daddr, ports, what);
    }
}

/// The same of a packet of `paths`, whose addresses may be IPv6's: those are not said.
#[inline(always)]
pub fn log_path(frame: &Frame, packet: &Packet, reason: u32) {
    if maps::logs() {
        let (saddr, daddr, ports, what) = words(0, packet, reason);
        vnet_log(frame.skb(), saddr, daddr, ports, what);
    }
}

/// The same of a packet of an XDP program.
#[inline(always)]
pub fn log_early(frame: &EarlyFrame, packet: &Packet, reason: u32) {
    if maps::logs() {
        let (saddr, daddr, ports, what) = words(2, packet, reason);
        vnet_log_early(frame.md(), saddr, daddr, ports, what);
    }
}

/// What is said of a packet, as few numbers as functions take. Hooks are numbered in the order of a
/// packet's way: in, then out; and XDP.
#[inline(always)]
fn words(hook: u32, packet: &Packet, reason: u32) -> (u32, u32, u32, u32) {
    let key = &packet.key;
    let ports = u32::from(key.sport) << 16 | u32::from(key.dport);
    let what = hook << 16 | u32::from(key.proto) << 8 | reason;
    (u32::from_ne_bytes(key.saddr), u32::from_ne_bytes(key.daddr), ports, what)
}

/// Says a decision about an IPv6 packet, as `say` does.
macro_rules! say6 {
    ($level:ident, $frame:expr, $saddr:expr, $daddr:expr, $what:expr) => {
        $level!(
            $frame.context(),
            "dev={} hook={} reason={} proto={} [{:i}]:0 > [{:i}]:0",
            $frame.device(),
            $what >> 16 & 1,
            $what & 0xff,
            $what >> 8 & 0xff,
            $saddr,
            $daddr
        )
    };
}

/// Logs the decision about the IPv6 packet on the desk.
#[inline(always)]
pub fn log6(frame: &Frame, direction: Direction, reason: u32) {
    if maps::logs() {
        let hook = u32::from(direction == Direction::Out);
        vnet_log6(frame.skb(), hook << 16 | reason);
    }
}

#[expect(unsafe_code, reason = "exported, so that the verifier walks it by itself")]
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn vnet_log_early(md: Md, saddr: u32, daddr: u32, ports: u32, what: u32) -> u32 {
    let frame = EarlyFrame::new(md);
    if DROPS >> (what & 63) & 1 == 0 {
        say!(debug, frame, saddr, daddr, ports, what);
    } else {
        say!(warn, frame, saddr, daddr, ports, what);
    }
    0
}

#[expect(unsafe_code, reason = "exported, so that the verifier walks it by itself")]
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn vnet_log6(skb: Skb, what: u32) -> u32 {
    let frame = Frame::new(skb);
    let Some(desk) = desk() else { return 0 };
    let (saddr, daddr) = (bytes(&desk.six.saddr), bytes(&desk.six.daddr));
    let what = what | u32::from(desk.six.proto) << 8;
    if DROPS >> (what & 63) & 1 == 0 {
        say6!(debug, frame, saddr, daddr, what);
    } else {
        say6!(warn, frame, saddr, daddr, what);
    }
    0
}

#[expect(unsafe_code, reason = "exported, so that the verifier walks it by itself")]
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn vnet_log(skb: Skb, saddr: u32, daddr: u32, ports: u32, what: u32) -> u32 {
    let frame = Frame::new(skb);
    if DROPS >> (what & 63) & 1 == 0 {
        say!(debug, frame, saddr, daddr, ports, what);
    } else {
        say!(warn, frame, saddr, daddr, ports, what);
    }
    0
}
