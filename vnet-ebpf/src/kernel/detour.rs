//! Packets that go elsewhere and come back.

use aya_ebpf::{
    bindings::{__sk_buff, BPF_F_INGRESS},
    helpers::{bpf_redirect, bpf_skb_change_head},
};
use core::mem::offset_of;
use vnet_common::flow::Direction;

use super::frame::{ETHERNET, Frame};

/// What of the mark (`skb->tc_index`) says that a packet comes back.
const MARK: u16 = 0x5300;

impl Frame {
    /// Puts an Ethernet header before a packet that has none.
    #[inline(always)]
    pub fn add_header(&mut self) -> bool {
        // SAFETY: the helper takes numbers and checks them.
        unsafe { bpf_skb_change_head(self.skb(), ETHERNET, 0) == 0 }
    }

    /// Sends the frame out by `device`: the verdict that does.
    #[inline(always)]
    pub fn redirect(&self, device: u32) -> i32 {
        // SAFETY: the helper takes numbers, and notes them for when the program returns.
        unsafe { bpf_redirect(device, 0) as i32 }
    }

    /// Sends the packet back to `device`, to cross it in this direction once more; it says that it
    /// comes back, and that it had come in by `arrived`. Returns the verdict that does it.
    #[inline(always)]
    pub fn come_back(&mut self, device: u32, direction: Direction, arrived: u32) -> i32 {
        self.set_mark(MARK);
        // SAFETY: the context is valid for the whole run, and the verifier lets these words be
        // written; the helper takes numbers.
        unsafe {
            (*self.skb()).cb[0] = arrived;
            let flags = if direction == Direction::In { u64::from(BPF_F_INGRESS) } else { 0 };
            bpf_redirect(device, flags) as i32
        }
    }

    /// Whether the packet comes back.
    #[inline(always)]
    #[must_use]
    pub fn is_back(&self) -> bool {
        self.mark() == MARK
    }

    /// From here on it is as if it had not been elsewhere.
    #[inline(always)]
    pub fn forget_detour(&self) {
        if self.is_back() {
            Self::new(self.skb()).set_mark(0);
        }
    }

    /// The device it had come in by, where it comes back.
    #[inline(always)]
    #[must_use]
    pub(super) fn had_arrived_on(&self) -> u32 {
        self.edge::<{ offset_of!(__sk_buff, cb) }>() as u32
    }
}
