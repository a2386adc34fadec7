//! A packet in an XDP program, before the kernel has made an `skb` of it: read and written in place.

use core::mem::offset_of;

use aya_ebpf::{
    EbpfContext as _,
    bindings::{
        xdp_action::{XDP_DROP, XDP_PASS},
        xdp_md,
    },
    btf_maps::DevMapHash,
    macros::btf_map,
    programs::XdpContext,
};
use vnet_common::account::Reason;

use super::{
    atomic::bound,
    frame::{REACH, Wire},
    hops::HopPlace,
};
use crate::{
    checksum::Change,
    packet::{Bytes, Packet},
    rewrite::{Field, Patch},
    shortcut::Arrival,
};

/// The packet goes on, to the kernel.
pub const PASS: u32 = XDP_PASS;
/// The packet ends here.
pub const DROP: u32 = XDP_DROP;

/// Devices that XDP may send packets out by: the control plane knows which can.
#[btf_map(name = "exits")]
static EXITS: DevMapHash<1024> = DevMapHash::new();

/// A packet of an XDP program, as that hands it to its functions.
pub type Md = *mut xdp_md;

/// The packet of this run.
pub struct EarlyFrame {
    context: XdpContext,
}

impl EarlyFrame {
    /// The packet of this run.
    #[inline(always)]
    #[must_use]
    pub fn new(md: Md) -> Self {
        Self::of(XdpContext::new(md))
    }

    /// The packet of this run, as the entry point has it.
    #[inline(always)]
    #[must_use]
    pub fn of(context: XdpContext) -> Self {
        Self { context }
    }

    /// The context, for the log.
    #[inline(always)]
    #[must_use]
    pub fn context(&self) -> &XdpContext {
        &self.context
    }

    /// The packet as the program hands it to its functions.
    #[inline(always)]
    #[must_use]
    pub fn md(&self) -> Md {
        self.context.as_ptr().cast()
    }

    /// Index of the device it has come in by.
    #[inline(always)]
    #[must_use]
    pub fn device(&self) -> u32 {
        // SAFETY: the context is valid for the whole run, and the verifier checks the field.
        unsafe { (*self.md()).ingress_ifindex }
    }

    /// What it is on the wire, from offset `from` to `end`. There are no GSO packets here.
    #[inline(always)]
    #[must_use]
    pub fn on_wire(&self, from: u32, end: u32) -> Wire {
        Wire { packets: 1, bytes: u64::from(end.saturating_sub(from)) }
    }

    /// What the program returns to send it out by this device; nothing when XDP cannot.
    #[inline(always)]
    #[must_use]
    pub fn redirect(&self, device: u32) -> Option<u32> {
        EXITS.redirect(device, u64::from(PASS)).ok()
    }

    /// Address of `size` bytes at `offset`, which is at most [`REACH`].
    #[inline(always)]
    fn at(&self, offset: u32, size: usize) -> Option<usize> {
        let offset = bound::<REACH>(offset.into()) as usize;
        let start = self.edge::<{ offset_of!(xdp_md, data) }>() + offset;
        (start + size <= self.edge::<{ offset_of!(xdp_md, data_end) }>()).then_some(start)
    }

    /// Where the packet begins or ends: the field of the context at `AT`, as in
    /// [`super::frame::Frame`].
    #[cfg(target_arch = "bpf")]
    #[inline(always)]
    fn edge<const AT: usize>(&self) -> usize {
        let edge: usize;
        // SAFETY: loads a field of the context, which is valid for the whole run.
        unsafe {
            core::arch::asm!("{edge} = *(u32 *)({md} + {at})",
                edge = out(reg) edge, md = in(reg) self.md(), at = const AT);
        }
        edge
    }

    /// There are no packets on the host.
    #[cfg(not(target_arch = "bpf"))]
    fn edge<const AT: usize>(&self) -> usize {
        AT
    }

    #[inline(always)]
    fn write<T: Copy>(&mut self, offset: u32, value: T) -> Result<(), Reason> {
        let start = self.at(offset, size_of::<T>()).ok_or(Reason::Rewrite)?;
        // SAFETY: `at` has checked that the bytes are there, which is also what the verifier asks for;
        // the packet is this run's own. Alignment as in `words`.
        unsafe { core::ptr::write(start as *mut T, value) };
        Ok(())
    }
}

impl Bytes for EarlyFrame {
    #[inline(always)]
    fn words<const N: usize>(&self, offset: u32) -> Option<[u32; N]> {
        let start = self.at(offset, N * 4)?;
        // SAFETY: `at` has checked that the words are there. The verifier of a machine that wants words
        // aligned refuses the program.
        Some(unsafe { core::ptr::read(start as *const [u32; N]) })
    }

    #[inline(always)]
    fn half(&self, offset: u32) -> Option<u16> {
        let start = self.at(offset, 2)?;
        // SAFETY: as in `words`.
        Some(unsafe { core::ptr::read(start as *const u16) })
    }
}

impl Arrival for EarlyFrame {
    #[inline(always)]
    fn length(&self) -> u32 {
        let end = self.edge::<{ offset_of!(xdp_md, data_end) }>();
        (end - self.edge::<{ offset_of!(xdp_md, data) }>()) as u32
    }

    #[inline(always)]
    fn device(&self) -> u32 {
        self.device()
    }

    #[inline(always)]
    fn stranger(&self, hop: &HopPlace) -> u32 {
        let (Some([word]), Some(half)) = (self.words::<1>(0), self.half(4)) else { return 1 };
        let to = hop.to();
        word ^ to.0 | u32::from(half ^ to.1)
    }

    #[inline(always)]
    fn segment(&self, packet: &Packet) -> u32 {
        packet.end - packet.l3
    }
}

impl Patch for EarlyFrame {
    #[inline(always)]
    fn set_words<const N: usize>(&mut self, offset: u32, words: &[u32; N]) -> Result<(), Reason> {
        self.write(offset, *words)
    }

    #[inline(always)]
    fn set_half(&mut self, offset: u32, half: u16) -> Result<(), Reason> {
        self.write(offset, half)
    }

    #[inline(always)]
    fn checksum(
        &mut self,
        offset: u32,
        change: Change,
        field: Field,
        _pseudo: bool,
    ) -> Result<(), Reason> {
        let old = self.half(offset).ok_or(Reason::Rewrite)?;
        let new = match (field, old, change.apply(old)) {
            (Field::Udp, 0, _) => 0,
            (Field::Udp, _, 0) => 0xffff,
            (_, _, new) => new,
        };
        self.write(offset, new)
    }

    #[inline(always)]
    fn checksum_port(
        &mut self,
        offset: u32,
        old: u16,
        new: u16,
        field: Field,
    ) -> Result<(), Reason> {
        self.checksum(offset, Change::NONE.half(old.to_be(), new.to_be()), field, false)
    }
}
