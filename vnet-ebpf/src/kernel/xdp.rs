//! A frame in an XDP program, before the kernel has made a packet of it: read and written in place,
//! in 16-bit words as they are on the wire. The benchmark's generator is made with it.

use aya_ebpf::{
    bindings::xdp_md,
    btf_maps::{HashMap, PerCpuArray},
    helpers::bpf_redirect,
    programs::XdpContext,
};
use core::mem::{offset_of, size_of};

/// The frame of this run.
pub struct XdpFrame {
    context: XdpContext,
}

impl XdpFrame {
    /// The frame of this run.
    #[inline(always)]
    #[must_use]
    pub fn new(context: XdpContext) -> Self {
        Self { context }
    }

    /// The first `N` words, if the frame has so many.
    #[inline(always)]
    #[must_use]
    pub fn words<const N: usize>(&self) -> Option<[u16; N]> {
        let start = self.start::<N>()?;
        // SAFETY: `start` has checked that the words are inside the frame, whose memory stays until
        // the program returns; frames begin at an even address.
        Some(unsafe { start.read() })
    }

    /// Replaces the first `N` words, if the frame has so many.
    #[inline(always)]
    #[must_use]
    pub fn write<const N: usize>(&mut self, words: [u16; N]) -> Option<()> {
        let start = self.start::<N>()?;
        // SAFETY: as in `words`, and the frame is this run's own.
        unsafe { start.write(words) };
        Some(())
    }

    /// Sends the frame out by another device: the action to return.
    #[inline(always)]
    #[must_use]
    pub fn redirect(&self, ifindex: u32) -> u32 {
        redirect(ifindex)
    }

    #[inline(always)]
    fn start<const N: usize>(&self) -> Option<*mut [u16; N]> {
        let start = self.edge::<{ offset_of!(xdp_md, data) }>();
        let end = self.edge::<{ offset_of!(xdp_md, data_end) }>();
        (start + size_of::<[u16; N]>() <= end).then_some(start as *mut [u16; N])
    }

    /// Where the frame begins or ends: the field of the context at `AT`.
    #[inline(always)]
    fn edge<const AT: usize>(&self) -> usize {
        // SAFETY: the context is valid for the whole run, and the verifier checks the field.
        let edge = unsafe { self.context.ctx.byte_add(AT).cast::<u32>().read() };
        edge as usize
    }
}

/// Sends what the program runs on out by another device: the action to return.
#[inline(always)]
#[must_use]
pub fn redirect(ifindex: u32) -> u32 {
    // SAFETY: the helper takes integers only, and notes them for when the program returns.
    unsafe { bpf_redirect(ifindex, 0) as u32 }
}

/// Counts one more on this CPU, and returns how many there were before.
#[inline(always)]
pub fn count<const N: usize>(counts: &PerCpuArray<u64, N>, index: u32) -> u64 {
    let Some(count) = counts.get_ptr_mut(index) else { return 0 };
    // SAFETY: this CPU's own entry, and no program of this hook interrupts another on the same CPU.
    unsafe {
        let before = *count;
        *count = before + 1;
        before
    }
}

/// Counts one more of this key, as a NAT counts packets of a flow; the first one makes its entry.
#[inline(always)]
pub fn remember<const N: usize, const FLAGS: usize>(
    map: &HashMap<[u16; 8], [u64; 9], N, FLAGS>,
    key: &[u16; 8],
) {
    match map.get_ptr_mut(key) {
        // SAFETY: the value is aligned and live until the program returns; other CPUs may count too, and
        // who comes second wins.
        Some(value) => unsafe {
            let count = core::ptr::addr_of_mut!((*value)[2]);
            count.write_volatile(count.read_volatile() + 1);
        },
        None => _ = map.insert(key, [0; 9], 0),
    }
}
