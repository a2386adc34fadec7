//! The packet: read in place, made linear first where it is not; written only
//! through helpers that know about clones, offloads and unfinished checksums.

use aya_ebpf::{
    EbpfContext,
    bindings::{__sk_buff, BPF_F_MARK_MANGLED_0, BPF_F_PSEUDO_HDR, BPF_F_RECOMPUTE_CSUM},
    helpers::{bpf_l4_csum_replace, bpf_skb_store_bytes},
    programs::TcContext,
};
use core::mem::offset_of;
use vnet_common::account::Reason;

use super::{atomic::bound, hops::HopPlace};
use crate::{
    checksum::Change,
    packet::{Bytes, Packet},
    rewrite::{Field, Patch},
    shortcut::Arrival,
};

/// Largest offset that is read in place: past every header, and a bound the verifier can use.
pub(super) const REACH: u32 = 0xff;

/// Bytes of an Ethernet header.
pub const ETHERNET: u32 = 14;

/// EtherTypes a frame is told apart by (IEEE 802 numbers).
pub mod ethertype {
    /// IPv4.
    pub const IPV4: u16 = 0x0800;
    /// ARP (RFC 826).
    pub const ARP: u16 = 0x0806;
    /// IPv6.
    pub const IPV6: u16 = 0x86dd;
    /// A VLAN tag in the frame's bytes (802.1Q).
    pub const VLAN: u16 = 0x8100;
    /// A service provider's VLAN tag in the frame's bytes (802.1ad).
    pub const SERVICE_VLAN: u16 = 0x88a8;
}

/// A packet as the kernel hands it to a program.
pub type Skb = *mut __sk_buff;

/// A packet in a classifier program.
pub struct Frame {
    ctx: TcContext,
}

impl Frame {
    /// The packet of this run.
    #[inline(always)]
    #[must_use]
    pub fn new(skb: Skb) -> Self {
        Self::of(TcContext::new(skb))
    }

    /// The packet of this run, as the entry point has it.
    #[inline(always)]
    #[must_use]
    pub fn of(ctx: TcContext) -> Self {
        Self { ctx }
    }

    /// The context, for the log.
    #[inline(always)]
    #[must_use]
    pub fn context(&self) -> &TcContext {
        &self.ctx
    }

    /// The packet as the kernel hands it to a program, and a program to its functions.
    #[inline(always)]
    #[must_use]
    pub fn skb(&self) -> Skb {
        self.ctx.skb.skb
    }

    /// Length from the link header on.
    #[inline(always)]
    #[must_use]
    pub fn length(&self) -> u32 {
        self.ctx.len()
    }

    /// Index of the device the program runs on.
    #[inline(always)]
    #[must_use]
    pub fn device(&self) -> u32 {
        // SAFETY: the context is valid for the whole run, and the verifier checks the field.
        unsafe { (*self.skb()).ifindex }
    }

    /// Index of the device the packet came in on; 0 when this host made it.
    #[inline(always)]
    #[must_use]
    pub fn arrived_on(&self) -> u32 {
        if self.is_back() {
            return self.had_arrived_on();
        }
        self.edge::<{ offset_of!(__sk_buff, ingress_ifindex) }>() as u32
    }

    /// Whom the packet came in for, as its link layer sees it; 0 = this device (`PACKET_HOST`).
    #[inline(always)]
    #[must_use]
    pub fn kind(&self) -> u32 {
        self.edge::<{ offset_of!(__sk_buff, pkt_type) }>() as u32
    }

    /// Whether the packet came in for this device, as its link layer sees it (`PACKET_HOST`).
    #[inline(always)]
    #[must_use]
    pub fn is_for_this_host(&self) -> bool {
        self.kind() == 0
    }

    /// A mark that travels with the packet through this host's kernel (`skb->tc_index`).
    #[inline(always)]
    #[must_use]
    pub fn mark(&self) -> u16 {
        // SAFETY: as in `device`.
        unsafe { (*self.skb()).tc_index as u16 }
    }

    /// Marks the packet.
    #[inline(always)]
    pub fn set_mark(&mut self, mark: u16) {
        // SAFETY: as in `device`; the verifier lets this field be written.
        unsafe { (*self.skb()).tc_index = mark.into() }
    }

    /// EtherType, the tag that travels beside the frame skipped.
    #[inline(always)]
    #[must_use]
    pub fn ethertype(&self) -> u16 {
        // SAFETY: as in `device`.
        u16::from_be(unsafe { (*self.skb()).protocol } as u16)
    }

    /// Whether a VLAN's tag travels beside the frame. A tag with VLAN 0 only carries a priority
    /// (IEEE 802.1Q): the frame belongs to this device.
    #[inline(always)]
    #[must_use]
    pub fn tagged(&self) -> bool {
        // SAFETY: as in `device`.
        unsafe { (*self.skb()).vlan_present != 0 && (*self.skb()).vlan_tci & 0xfff != 0 }
    }

    /// Whether any tag travels beside the frame.
    #[inline(always)]
    #[must_use]
    pub fn has_tag(&self) -> bool {
        // SAFETY: as in `device`.
        unsafe { (*self.skb()).vlan_present != 0 }
    }

    /// Bytes of the packet from its IP header on; of a GSO packet, of each segment.
    #[inline(always)]
    #[must_use]
    pub fn segment(&self, packet: &Packet) -> u32 {
        // SAFETY: as in `device`.
        let size = unsafe { (*self.skb()).gso_size };
        if size == 0 { packet.end - packet.l3 } else { size + (packet.payload - packet.l3) }
    }

    /// What this packet is on the wire, where a GSO packet is cut into segments that each have a
    /// copy of the headers. `from` and `end` bound what counts, `payload` is where headers end.
    #[inline(always)]
    #[must_use]
    pub fn on_wire(&self, from: u32, payload: u32, end: u32) -> Wire {
        // SAFETY: as in `device`.
        let size = unsafe { (*self.skb()).gso_size };
        // Computed, because a virtual machine's packet has not been counted yet (SKB_GSO_DODGY).
        let packets =
            if size == 0 { 1 } else { self.length().saturating_sub(payload).div_ceil(size).max(1) };
        let headers = u64::from(payload.saturating_sub(from));
        Wire {
            packets,
            bytes: u64::from(end.saturating_sub(from)) + u64::from(packets - 1) * headers,
        }
    }
}

/// Packets and bytes on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wire {
    /// Packets.
    pub packets: u32,
    /// Bytes of them that count.
    pub bytes: u64,
}

impl Frame {
    /// Address of `size` bytes at `offset`, which is at most [`REACH`], if they are linear.
    #[inline(always)]
    pub(super) fn linear(&self, offset: u32, size: usize) -> Option<usize> {
        let offset = bound::<REACH>(offset.into()) as usize;
        let start = self.edge::<{ offset_of!(__sk_buff, data) }>() + offset;
        (start + size <= self.edge::<{ offset_of!(__sk_buff, data_end) }>()).then_some(start)
    }

    /// The field of the context at `AT`, such as where the linear part begins. The context declares
    /// pointers as 32-bit numbers; loaded as such, the compiler may widen one in a way that the
    /// verifier takes for arithmetic, or make one load of two, so the load is written out.
    #[cfg(target_arch = "bpf")]
    #[inline(always)]
    pub(super) fn edge<const AT: usize>(&self) -> usize {
        let edge: usize;
        // SAFETY: loads a field of the context, which is valid for the whole run.
        unsafe {
            core::arch::asm!("{edge} = *(u32 *)({skb} + {at})",
                edge = out(reg) edge, skb = in(reg) self.skb(), at = const AT);
        }
        edge
    }

    /// There are no packets on the host.
    #[cfg(not(target_arch = "bpf"))]
    pub(super) fn edge<const AT: usize>(&self) -> usize {
        AT
    }

    /// Makes the first `length` bytes linear, if there are as many. Only headers that are not
    /// linear already are pulled: a partial pull of a UDP GSO list crashed kernels before 6.16, and
    /// those have their headers where they belong.
    #[inline(always)]
    fn pull(&self, length: u32) -> Option<()> {
        if length > self.length() {
            return None;
        }
        self.ctx.pull_data(length).ok()
    }
}

impl Frame {
    /// Address of `size` bytes at `offset`, made linear if they are not.
    #[inline(always)]
    fn at(&self, offset: u32, size: usize) -> Option<usize> {
        if offset > REACH {
            return None;
        }
        if let Some(start) = self.linear(offset, size) {
            return Some(start);
        }
        self.pull(offset + size as u32)?;
        self.linear(offset, size)
    }

    #[inline(always)]
    fn store<T>(&mut self, offset: u32, value: &T, flags: u32) -> Result<(), Reason> {
        let (from, size) = (core::ptr::from_ref(value).cast(), size_of::<T>() as u32);
        // SAFETY: the helper reads as many bytes as the value has, and checks the offset.
        done(unsafe { bpf_skb_store_bytes(self.skb().cast(), offset, from, size, flags.into()) })
    }
}

impl Bytes for Frame {
    #[inline(always)]
    fn words<const N: usize>(&self, offset: u32) -> Option<[u32; N]> {
        let start = self.at(offset, N * 4)?;
        // SAFETY: `at` has checked that the words are there, which is also what the verifier asks
        // for. Where the machine wants words aligned, the verifier does too, and the kernel keeps
        // headers on 32-bit boundaries (NET_IP_ALIGN).
        Some(unsafe { core::ptr::read(start as *const [u32; N]) })
    }

    #[inline(always)]
    fn half(&self, offset: u32) -> Option<u16> {
        let start = self.at(offset, 2)?;
        // SAFETY: as in `words`.
        Some(unsafe { core::ptr::read(start as *const u16) })
    }
}

impl Arrival for Frame {
    #[inline(always)]
    fn length(&self) -> u32 {
        self.length()
    }

    #[inline(always)]
    fn device(&self) -> u32 {
        self.device()
    }

    #[inline(always)]
    fn stranger(&self, _hop: &HopPlace) -> u32 {
        self.kind()
    }

    #[inline(always)]
    fn segment(&self, packet: &Packet) -> u32 {
        self.segment(packet)
    }
}

impl Patch for Frame {
    #[inline(always)]
    fn set_words<const N: usize>(&mut self, offset: u32, words: &[u32; N]) -> Result<(), Reason> {
        self.store(offset, words, 0)
    }

    #[inline(always)]
    fn set_half(&mut self, offset: u32, half: u16) -> Result<(), Reason> {
        self.store(offset, &half, 0)
    }

    #[inline(always)]
    fn set_bare_words<const N: usize>(
        &mut self,
        offset: u32,
        words: &[u32; N],
    ) -> Result<(), Reason> {
        self.store(offset, words, BPF_F_RECOMPUTE_CSUM)
    }

    #[inline(always)]
    fn set_bare_half(&mut self, offset: u32, half: u16) -> Result<(), Reason> {
        self.store(offset, &half, BPF_F_RECOMPUTE_CSUM)
    }

    #[inline(always)]
    fn checksum(
        &mut self,
        offset: u32,
        change: Change,
        field: Field,
        pseudo: bool,
    ) -> Result<(), Reason> {
        let pseudo = if pseudo { u64::from(BPF_F_PSEUDO_HDR) } else { 0 };
        let flags = mangled(field) | pseudo;
        // SAFETY: the helper takes numbers and checks the offset.
        done(unsafe { bpf_l4_csum_replace(self.skb(), offset, 0, change.folded().into(), flags) })
    }

    #[inline(always)]
    fn checksum_port(
        &mut self,
        offset: u32,
        old: u16,
        new: u16,
        field: Field,
    ) -> Result<(), Reason> {
        let flags = mangled(field) | size_of::<u16>() as u64;
        // SAFETY: as in `checksum`.
        done(unsafe {
            bpf_l4_csum_replace(self.skb(), offset, old.to_be().into(), new.to_be().into(), flags)
        })
    }
}

#[inline(always)]
fn mangled(field: Field) -> u64 {
    match field {
        Field::Plain => 0,
        Field::Udp => u64::from(BPF_F_MARK_MANGLED_0),
    }
}

#[inline(always)]
fn done(refused: i64) -> Result<(), Reason> {
    if refused == 0 { Ok(()) } else { Err(Reason::Rewrite) }
}

impl Frame {
    /// The context as the helpers that look up sockets take it.
    #[inline(always)]
    pub(super) fn raw(&self) -> *mut core::ffi::c_void {
        self.ctx.as_ptr()
    }
}
