//! IP options that record the way (RFC 791): every host on the way may write its address into them.
//! What has been written when a packet leaves are addresses of the inside, so the outside address is
//! put in the place of each.

use vnet_common::Ipv4;

use crate::{
    checksum::Change,
    kernel::{
        self,
        frame::{Frame, Skb},
        maps,
    },
    packet::{Bytes, IPV4_HEADER},
    rewrite::Patch,
};

/// Steps that the longest options take: 40 bytes, or 9 addresses and a few bytes around them.
pub const STEPS: u32 = 64;

/// Numbers of options, the copied flag included.
mod kind {
    pub(super) const END: u8 = 0;
    pub(super) const NOTHING: u8 = 1;
    pub(super) const RECORD_ROUTE: u8 = 7;
    pub(super) const TIMESTAMP: u8 = 68;
    pub(super) const LOOSE_SOURCE_ROUTE: u8 = 131;
    pub(super) const STRICT_SOURCE_ROUTE: u8 = 137;
}

/// Where a look through the options is.
#[derive(Clone, Copy, Debug)]
pub struct Walk {
    /// Offset of the IP header.
    l3: u32,
    /// Offset of the next option.
    at: u32,
    /// Offset of the header's end.
    end: u32,
    /// Offset of the next address of the option before that; 0 = there is none.
    slot: u32,
    /// Offset where what has been written into that option ends.
    written: u32,
    /// Bytes from one of its addresses to the next.
    stride: u32,
    /// What is written.
    addr: u32,
}

impl Walk {
    /// Begins with the options of the IP header from `l3` to `l4`; `zero` is one that the verifier
    /// must not know: kernels before 6.7 walk the step of a loop only once, with what they know of its
    /// context before the first turn, and would take out whatever other values lead to.
    #[inline(always)]
    #[must_use]
    pub fn new(l3: u32, l4: u32, addr: Ipv4, zero: u32) -> Self {
        Self {
            l3,
            at: l3 + IPV4_HEADER,
            end: l4,
            slot: zero,
            written: zero,
            stride: zero,
            addr: u32::from_ne_bytes(addr),
        }
    }

    /// One step; `None` when there is nothing more to do, or nothing that makes sense.
    #[inline(always)]
    pub fn step(&mut self, frame: &mut impl Patch) -> Option<()> {
        if self.slot != 0 { self.address(frame) } else { self.option(frame) }
    }

    #[inline(always)]
    fn option(&mut self, frame: &impl Bytes) -> Option<()> {
        if self.at >= self.end {
            return None;
        }
        let [kind, length] = frame.half(self.at)?.to_ne_bytes();
        if kind == kind::NOTHING {
            self.at += 1;
            return Some(());
        }
        if kind == kind::END || length < 2 {
            return None;
        }
        let (start, next) = (self.at, self.at + u32::from(length));
        self.at = next;
        let [pointer, flags] = frame.half(start + 2)?.to_ne_bytes();
        // A timestamp has addresses beside the times, or not.
        let (first, stride) = match kind {
            kind::RECORD_ROUTE | kind::LOOSE_SOURCE_ROUTE | kind::STRICT_SOURCE_ROUTE => (3, 4),
            kind::TIMESTAMP if flags & 1 != 0 => (4, 8),
            _ => return Some(()),
        };
        self.slot = start + first;
        self.stride = stride;
        // The pointer counts from 1, and is at the first byte that nobody has written to.
        self.written = next.min(self.end).min((start + u32::from(pointer)).saturating_sub(1));
        Some(())
    }

    #[inline(always)]
    fn address(&mut self, frame: &mut impl Patch) -> Option<()> {
        let slot = self.slot;
        if slot + 4 > self.written {
            self.slot = 0;
            return Some(());
        }
        self.slot = slot + self.stride;
        let [old] = frame.words::<1>(slot)?;
        let sum = frame.half(self.l3 + 10)?;
        let change = difference(old, self.addr, slot & 1 != 0);
        frame.set_words(slot, &[self.addr]).ok()?;
        frame.set_half(self.l3 + 10, change.apply(sum)).ok()
    }
}

/// What a new address means for the header's checksum: at an odd offset its bytes are in the other
/// halves of the words that are summed up.
#[inline(always)]
fn difference(old: u32, new: u32, odd: bool) -> Change {
    if !odd {
        return Change::NONE.word(old, new);
    }
    let [a, b, c, d] = old.to_ne_bytes();
    let [e, f, g, h] = new.to_ne_bytes();
    let word = |bytes| u32::from_ne_bytes(bytes);
    Change::NONE
        .word(word([0, a, b, c]), word([0, e, f, g]))
        .word(word([d, 0, 0, 0]), word([h, 0, 0, 0]))
}

/// Puts `addr` in the place of every address that has been written into the options of the IP header
/// from `l3` to `l4`.
#[inline(always)]
pub fn hide(frame: &Frame, l3: u32, l4: u32, addr: Ipv4) {
    if l4 - l3 > IPV4_HEADER {
        vnet_hide(frame.skb(), l3, l4, u32::from_ne_bytes(addr));
    }
}

/// A walk and the packet it is through.
struct Hiding {
    frame: Frame,
    walk: Walk,
}

#[expect(unsafe_code, reason = "exported, so that the verifier walks it by itself")]
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn vnet_hide(skb: Skb, l3: u32, l4: u32, addr: u32) -> u32 {
    let zero = maps::config().map_or(0, |config| config.reserved);
    let walk = Walk::new(l3, l4, addr.to_ne_bytes(), zero);
    kernel::repeat(STEPS, step, &mut Hiding { frame: Frame::new(skb), walk });
    0
}

extern "C" fn step(_turn: u64, hiding: &mut Hiding) -> i64 {
    i64::from(hiding.walk.step(&mut hiding.frame).is_none())
}
