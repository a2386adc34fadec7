//! The benchmark's traffic, made and counted in the kernel: a sender in user space costs several
//! microseconds a packet, and hides what is to be measured.
//!
//! `generate` is run by BPF_PROG_TEST_RUN with live frames. The kernel reuses their pages without
//! putting back what was in them, so all headers are written each time; nobody on the way changes the
//! payload. `count` and `answer` are where the packets end, and `cross` and `cross_xdp` are the least
//! that can be between: limits to compare with, `cross_known` with the lookup that no NAT can do without.
//! The globals are set before loading; vnet itself does
//! not use this object.
#![cfg_attr(target_arch = "bpf", no_std, no_main)]
#![expect(unsafe_code, reason = "the licence and the globals are exported symbols")]
#![expect(missing_docs, unreachable_pub, reason = "the entry points' macro makes items of its own")]

use aya_ebpf::{
    Global,
    bindings::{
        BPF_F_NO_PREALLOC,
        xdp_action::{XDP_ABORTED, XDP_DROP, XDP_PASS},
    },
    btf_maps::{HashMap, PerCpuArray},
    macros::{btf_map, classifier, xdp},
    programs::{TcContext, XdpContext},
};

// By path and not from the library: with the library, this object would carry all of vnet's maps.
#[path = "../kernel/xdp.rs"]
mod xdp;

use xdp::XdpFrame;

/// Where in a frame, in 16-bit words: Ethernet, IPv4 without options, UDP.
mod at {
    pub(super) const MACS: [usize; 2] = [0, 3];
    pub(super) const ETHERTYPE: usize = 6;
    pub(super) const TTL_AND_PROTOCOL: usize = 11;
    pub(super) const SOURCE: usize = 13;
    pub(super) const DESTINATION: usize = 15;
    pub(super) const SOURCE_PORT: usize = 17;
    pub(super) const DESTINATION_PORT: usize = 18;
    pub(super) const CHECKSUM: usize = 20;
}

/// Words of the three headers.
const HEADERS: usize = 21;
const IPV4: u16 = 0x0800;
const UDP: u16 = 17;

/// Flows differ in their source port, from here on ...
const FIRST_PORT: u32 = 1024;
/// ... and where these do not suffice, in their destination port as well.
const PORTS: u32 = 64_000;

/// A prime larger than any number of flows, so that steps of it meet every flow.
const STRIDE: u64 = 1_000_003;

/// The headers of every flow, but for the source port and the UDP checksum, which are 0.
#[unsafe(no_mangle)]
static FRAME: Global<[u16; HEADERS]> = Global::new([0; HEADERS]);
/// The sum of what the UDP checksum of such a frame covers.
#[unsafe(no_mangle)]
static SUM: Global<u32> = Global::new(0);
/// Number of the first flow.
#[unsafe(no_mangle)]
static FIRST: Global<u32> = Global::new(0);
/// How many flows take turns.
#[unsafe(no_mangle)]
static FLOWS: Global<u32> = Global::new(1);
/// Index of the device to send by.
#[unsafe(no_mangle)]
static DEVICE: Global<u32> = Global::new(0);
/// The source that packets should come from, as on the wire.
#[unsafe(no_mangle)]
static SOURCE: Global<[u16; 2]> = Global::new([0; 2]);

/// Packets made.
#[btf_map(name = "made")]
static MADE: PerCpuArray<u64, 1> = PerCpuArray::new();
/// UDP packets that arrived: from `SOURCE`, and from elsewhere.
#[btf_map(name = "arrived")]
static ARRIVED: PerCpuArray<u64, 2> = PerCpuArray::new();

/// What `cross_known` remembers: as many bytes for each tuple as `flows4` of vnet has. The loader sizes it.
#[btf_map(name = "known")]
static KNOWN: HashMap<[u16; 8], [u64; 9], 1, { BPF_F_NO_PREALLOC as usize }> = HashMap::new();

/// Makes the next flow's packet and sends it.
#[xdp]
pub fn generate(context: XdpContext) -> u32 {
    let mut frame = XdpFrame::new(context);
    let flow = next_flow();
    let source_port = FIRST_PORT + flow % PORTS;
    let mut words = FRAME.load();
    let port = u32::from(u16::from_be(words[at::DESTINATION_PORT]));
    words[at::SOURCE_PORT] = (source_port as u16).to_be();
    words[at::DESTINATION_PORT] = ((port + flow / PORTS) as u16).to_be();
    words[at::CHECKSUM] = checksum(SUM.load() + source_port + flow / PORTS).to_be();
    match frame.write(words) {
        Some(()) => frame.redirect(DEVICE.load()),
        None => XDP_ABORTED,
    }
}

/// Counts what should have come, and ends it; everything else goes on.
#[xdp]
pub fn count(context: XdpContext) -> u32 {
    match arrived(&XdpFrame::new(context)) {
        Some(_) => XDP_DROP,
        None => XDP_PASS,
    }
}

/// Counts as `count` does, and sends the packet back to where it came from. By a redirect: after
/// XDP_TX, veth wakes its peer only if that has an XDP program of its own.
#[xdp]
pub fn answer(context: XdpContext) -> u32 {
    let mut frame = XdpFrame::new(context);
    let Some(mut words) = arrived(&frame) else { return XDP_PASS };
    // The checksums stay right: they are sums, and a sum does not mind the order.
    for word in 0..3 {
        words.swap(at::MACS[0] + word, at::MACS[1] + word);
    }
    for word in 0..2 {
        words.swap(at::SOURCE + word, at::DESTINATION + word);
    }
    words.swap(at::SOURCE_PORT, at::DESTINATION_PORT);
    match frame.write(words) {
        Some(()) => frame.redirect(DEVICE.load()),
        None => XDP_ABORTED,
    }
}

/// The limit of what a program can do at ingress of traffic control: every packet leaves at once by
/// `DEVICE`, unchanged.
#[classifier]
pub fn cross(_context: TcContext) -> i32 {
    xdp::redirect(DEVICE.load()) as i32
}

/// The same before the kernel has made a packet of the frame.
#[xdp]
pub fn cross_xdp(context: XdpContext) -> u32 {
    XdpFrame::new(context).redirect(DEVICE.load())
}

/// `cross_xdp`, and the packet's tuple is looked up and counted.
#[xdp]
pub fn cross_known(context: XdpContext) -> u32 {
    let frame = XdpFrame::new(context);
    if let Some(words) = frame.words::<HEADERS>() {
        let mut key = [0; 8];
        key[..6].copy_from_slice(&words[at::SOURCE..=at::DESTINATION_PORT]);
        key[6] = words[at::TTL_AND_PROTOCOL] & 0xff_u16.to_be();
        xdp::remember(&KNOWN, &key);
    }
    frame.redirect(DEVICE.load())
}

/// Every flow in turn, so that tables are filled in order; after that always far from the one
/// before, so that caches are of no more use than with traffic of many users.
#[inline(always)]
fn next_flow() -> u32 {
    let made = xdp::count(&MADE, 0);
    // Of 0 flows there is still one: a division by zero has no place in a program.
    let flows = u64::from(FLOWS.load().max(1));
    let turn = if made < flows { made } else { made.wrapping_mul(STRIDE) % flows };
    FIRST.load() + turn as u32
}

/// Folds a sum of 16-bit words into a UDP checksum, of which 0 would mean there is none.
#[inline(always)]
fn checksum(sum: u32) -> u16 {
    let sum = (sum & 0xffff) + (sum >> 16);
    let sum = (sum & 0xffff) + (sum >> 16);
    match !(sum as u16) {
        0 => 0xffff,
        checksum => checksum,
    }
}

/// Counts a UDP packet and returns its headers; `None` for anything else.
#[inline(always)]
fn arrived(frame: &XdpFrame) -> Option<[u16; HEADERS]> {
    let words = frame.words::<HEADERS>()?;
    let protocol = u16::from_be(words[at::TTL_AND_PROTOCOL]) & 0xff;
    if u16::from_be(words[at::ETHERTYPE]) != IPV4 || protocol != UDP {
        return None;
    }
    let source = SOURCE.load();
    let expected = words[at::SOURCE] == source[0] && words[at::SOURCE + 1] == source[1];
    xdp::count(&ARRIVED, u32::from(!expected));
    Some(words)
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
    eprintln!("these programs run in the kernel: `cargo xtask bench` builds and runs them");
}
