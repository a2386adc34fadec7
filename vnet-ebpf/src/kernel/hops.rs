//! What a flow remembers of the kernel's decision, and packets that go by it.

use core::{
    mem::offset_of,
    ptr::{addr_of, addr_of_mut},
};

use vnet_common::shortcut::Hop;

use super::{atomic::Atomic32, flows::Entry, frame::Frame};

/// Says in `skb->cb[1]` that a packet is on a shortcut, to the device whose index is in `cb[2]`. What
/// the kernel's IPv4 leaves there begins with the length of the packet's options, 40 at most, and what its
/// IPv6 does with the offset of an extension header.
const ON_SHORTCUT: u32 = 0xff53_48ff;
/// Says in `skb->tc_index` that where the packet leaves is to be noted.
const ASKS: u16 = 0x5800;

/// Reads one field of a flow's hop.
macro_rules! get {
    ($entry:expr, $field:ident) => {
        // SAFETY: the entry is a live map value of this type (see the module's promise).
        unsafe { addr_of!((*$entry.0.as_ptr()).hop.$field).read_volatile() }
    };
}

/// Writes one field of a flow's hop.
macro_rules! set {
    ($entry:expr, $hop:expr, $($field:ident),+) => {
        // SAFETY: as in `get`; other CPUs may write the same field, the last one wins.
        unsafe { $(addr_of_mut!((*$entry.0.as_ptr()).hop.$field).write_volatile($hop.$field);)+ }
    };
}

impl Entry {
    /// The device its packets left by, 0 when none is known or another one is being noted, and when
    /// that was noted.
    #[inline(always)]
    #[must_use]
    pub fn hop_device(&self) -> (u32, u32) {
        (get!(self, device), get!(self, learnt))
    }

    /// The device its packets came in by, and the epoch under which that was noted.
    #[inline(always)]
    #[must_use]
    pub fn hop_from(&self) -> (u32, u16) {
        (get!(self, from), get!(self, epoch))
    }

    /// Bytes of the largest packet that passed, and the traffic class of all.
    #[inline(always)]
    #[must_use]
    pub fn hop_fits(&self) -> (u16, u8) {
        (get!(self, size), get!(self, class))
    }

    /// Bytes of link header where its packets come in, and where they leave.
    #[inline(always)]
    #[must_use]
    pub fn hop_headers(&self) -> (u8, u8) {
        (get!(self, came), get!(self, header))
    }

    /// Where the Ethernet header says that its packets go which come in: a word and the half after it.
    #[inline(always)]
    #[must_use]
    pub fn hop_to(&self) -> (u32, u16) {
        let hop = self.0.as_ptr();
        // SAFETY: a live map value; the address is six bytes, on a boundary of four (asserted below).
        unsafe {
            let to = addr_of!((*hop).hop.to);
            (to.cast::<u32>().read_volatile(), to.byte_add(4).cast::<u16>().read_volatile())
        }
    }

    /// What its packets leave with.
    #[inline(always)]
    #[must_use]
    pub fn leave(&self) -> Leave {
        // SAFETY: both addresses are 12 bytes in a row, on a boundary of four (asserted below).
        let macs =
            unsafe { addr_of!((*self.0.as_ptr()).hop.dmac).cast::<[u32; 3]>().read_volatile() };
        Leave {
            macs,
            header: get!(self, header),
            mark: get!(self, mark),
            priority: get!(self, priority),
        }
    }

    /// Notes how a packet left. Nobody takes the shortcut while that is written.
    #[inline(always)]
    pub fn note_hop(&self, hop: &Hop) {
        // SAFETY: a live, aligned field that is only ever replaced whole.
        let device = unsafe { &*addr_of!((*self.0.as_ptr()).hop.device).cast::<Atomic32>() };
        device.publish(0);
        set!(
            self, hop, from, mark, priority, learnt, epoch, size, dmac, smac, header, came, class,
            to
        );
        device.publish(hop.device);
    }

    /// Notes that a larger packet has passed too.
    #[inline(always)]
    pub fn note_size(&self, size: u16) {
        set!(self, Hop { size, ..Hop::default() }, size);
    }
}

const _: () = assert!(offset_of!(Hop, to) % 4 == 0);
const _: () =
    assert!(offset_of!(Hop, dmac) % 4 == 0 && offset_of!(Hop, smac) == offset_of!(Hop, dmac) + 6);

/// What a packet leaves with.
#[derive(Clone, Copy, Debug)]
pub struct Leave {
    /// The first 12 bytes of its link header.
    pub macs: [u32; 3],
    /// Bytes of that.
    pub header: u8,
    mark: u32,
    priority: u32,
}

impl Frame {
    /// Gives the packet the marks that the kernel had given others of its flow.
    #[inline(always)]
    pub fn mark_as(&mut self, leave: &Leave) {
        // SAFETY: the context is valid for the whole run, and the verifier lets these be written.
        unsafe {
            (*self.skb()).mark = leave.mark;
            (*self.skb()).priority = leave.priority;
        }
    }

    /// Marks of the packet that are the user's: `skb->mark` and `skb->priority`.
    #[inline(always)]
    #[must_use]
    pub fn user_marks(&self) -> (u32, u32) {
        // SAFETY: the context is valid for the whole run, and the verifier checks the fields.
        unsafe { ((*self.skb()).mark, (*self.skb()).priority) }
    }

    /// Asks for a note where this packet leaves.
    #[inline(always)]
    pub fn ask(&mut self) {
        self.set_mark(ASKS);
    }

    /// Whether a note is asked for.
    #[inline(always)]
    #[must_use]
    pub fn asks(&self) -> bool {
        self.mark() == ASKS
    }

    /// Sends the packet out by `device`, where it is recognised.
    #[inline(always)]
    pub fn take_shortcut(&mut self, device: u32) {
        // SAFETY: the context is valid for the whole run, and the verifier lets these words be written.
        unsafe { (*self.skb()).cb[1] = ON_SHORTCUT };
        // SAFETY: as above.
        unsafe { (*self.skb()).cb[2] = device };
        self.redirect(device);
    }

    /// Whether the packet leaves by a shortcut: all has been done.
    #[inline(always)]
    #[must_use]
    pub fn leaves(&self) -> bool {
        let skb = self.skb();
        // SAFETY: the context is valid for the whole run, and the verifier lets these be read.
        unsafe { (*skb).cb[1] == ON_SHORTCUT && (*skb).cb[2] == (*skb).ifindex }
    }

    /// A packet that comes in is on no shortcut, whatever another host on this machine has written.
    #[inline(always)]
    pub fn arrives(&mut self) {
        let skb = self.skb();
        // SAFETY: as in `leaves`, and they may be written.
        unsafe {
            if (*skb).cb[1] == ON_SHORTCUT {
                (*skb).cb[1] = 0;
            }
        }
    }
}
