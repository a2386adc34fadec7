//! A packet becomes another one, and goes back.

use aya_ebpf::{
    bindings::bpf_adj_room_mode,
    helpers::{
        bpf_csum_diff, bpf_redirect_neigh, bpf_skb_adjust_room, bpf_skb_change_head,
        bpf_skb_change_tail, bpf_skb_load_bytes, bpf_skb_store_bytes,
    },
};

use super::frame::{ETHERNET, Frame};

/// More than all headers before a transport checksum: link, and IP with all of its options.
const HEADERS_MAX: u32 = 80;

impl Frame {
    /// Copies `length` bytes from `offset` on to word number `at` of `to`, if they are there.
    #[inline(always)]
    pub fn copy<const N: usize>(
        &self,
        offset: u32,
        to: &mut [u32; N],
        at: usize,
        length: u32,
    ) -> bool {
        let to = to[at..].as_mut_ptr().cast();
        // SAFETY: the verifier checks that so many bytes fit.
        unsafe { bpf_skb_load_bytes(self.raw(), offset, to, length) == 0 }
    }

    /// Writes the first `length` bytes of `words` to `offset`.
    #[inline(always)]
    pub fn put<const N: usize>(&mut self, offset: u32, words: &[u32; N], length: u32) -> bool {
        let from = words.as_ptr().cast();
        // SAFETY: the verifier checks that there are so many bytes.
        unsafe { bpf_skb_store_bytes(self.skb().cast(), offset, from, length, 0) == 0 }
    }

    /// Makes the packet `length` bytes long behind its link header, with nothing worth keeping, and
    /// forgets what was to be done for the former one: segments to be cut, and a transport checksum
    /// to be finished. The latter goes only with the bytes it begins at, so as many as all headers
    /// are taken out at the front, after they were added at the end.
    #[inline(always)]
    pub fn resize(&mut self, l3: u32, length: u32) -> bool {
        // A tag in the frame's bytes is one that no neighbour's header has.
        if l3 != 0 && l3 != ETHERNET {
            return false;
        }
        let cut = HEADERS_MAX.cast_signed();
        // SAFETY: the helpers take numbers and check them.
        unsafe {
            (*self.skb()).mark = 0;
            bpf_skb_change_tail(self.skb(), l3 + length + HEADERS_MAX, 0) == 0
                && bpf_skb_adjust_room(self.skb(), -cut, bpf_adj_room_mode::BPF_ADJ_ROOM_MAC, 0)
                    == 0
        }
    }

    /// Sends the packet, whose IP header is at `l3`, to `device`: the verdict that does. The kernel
    /// finds the neighbour, and takes an Ethernet header for granted.
    #[inline(always)]
    #[must_use]
    pub fn send_to(&mut self, device: u32, l3: u32) -> i32 {
        // SAFETY: as in `resize`; without parameters the kernel looks up the route itself.
        unsafe {
            if l3 == 0 {
                bpf_skb_change_head(self.skb(), ETHERNET, 0);
            }
            bpf_redirect_neigh(device, core::ptr::null_mut(), 0, 0) as i32
        }
    }
}

/// Adds up `length` bytes of words from number `at` on.
#[inline(always)]
#[must_use]
pub fn sum<const N: usize>(words: &mut [u32; N], at: usize, length: u32) -> u64 {
    let words = words[at..].as_mut_ptr();
    // SAFETY: the verifier checks that there are so many bytes; they are only read.
    unsafe { bpf_csum_diff(core::ptr::null_mut(), 0, words, length, 0) as u64 & 0xffff_ffff }
}
