//! What flows remember of the kernel's decisions, and packets that go by it.

use core::{
    mem::offset_of,
    ptr::{NonNull, addr_of, addr_of_mut},
};

use aya_ebpf::{btf_maps::Array, macros::btf_map};
use vnet_common::{
    flow::Flow,
    shortcut::{Hop, Way},
};

use super::{
    atomic::{Atomic32, Atomic64},
    flows::Entry,
    frame::Frame,
};
use crate::shortcut::Remembered;

#[btf_map(name = "hops")]
static HOPS: Array<Hop, { Hop::MOST as usize }> = Array::new();

/// Says in `skb->cb[1]` that a packet is on a shortcut, to the device whose index is in `cb[2]`. What
/// the kernel's IPv4 leaves there begins with the length of the packet's options, 40 at most, and what its
/// IPv6 does with the offset of an extension header.
const ON_SHORTCUT: u32 = 0xff53_48ff;
/// Says in `skb->tc_index` that where the packet leaves is to be noted.
const ASKS: u16 = 0x5800;
/// The same of a packet that was translated where it came in, and where nothing is to be noted of its flow.
const TRANSLATED: u16 = 0x5801;

/// Words of a hop that say what it is; the first is its device.
const WORDS: usize = offset_of!(Hop, noted) / 4;
/// Places that are looked at for a hop.
const TRIES: u32 = 8;
/// A hop is still the same to who notes it again, when it was noted less than this ago ...
const KEPT: u32 = 2 * Hop::SECOND;
/// ... and is given up, when it was not for this long: no flow follows it any more, and nobody is about to
/// note it again.
const LEFT: u32 = 4 * Hop::SECOND;

/// A way where it is kept: part of a live map value, on a boundary of eight bytes.
#[derive(Clone, Copy)]
pub struct WayPlace(pub(super) NonNull<Way>);

impl WayPlace {
    /// The way that is remembered.
    #[inline(always)]
    #[must_use]
    pub fn read(&self) -> Way {
        let [a, b, c, d, e, f, g, h] = self.word().load().to_ne_bytes();
        let [hop, size, learnt, epoch] = [[a, b], [c, d], [e, f], [g, h]].map(u16::from_ne_bytes);
        Way { hop, size, learnt, epoch }
    }

    /// Remembers a way, or forgets it.
    #[inline(always)]
    pub fn note(&self, way: Way) {
        let Way { hop, size, learnt, epoch } = way;
        let [[a, b], [c, d], [e, f], [g, h]] = [hop, size, learnt, epoch].map(u16::to_ne_bytes);
        self.word().store(u64::from_ne_bytes([a, b, c, d, e, f, g, h]));
    }

    #[inline(always)]
    fn word(&self) -> &Atomic64 {
        // SAFETY: see the type.
        unsafe { &*self.0.as_ptr().cast::<Atomic64>() }
    }
}

impl Remembered for Entry {
    #[inline(always)]
    fn way(&self) -> WayPlace {
        const _: () = assert!(offset_of!(Flow, way) % 8 == 0);
        // SAFETY: a field of a live map value.
        WayPlace(unsafe { NonNull::new_unchecked(addr_of_mut!((*self.0.as_ptr()).way)) })
    }

    #[inline(always)]
    fn last_seen(&self) -> u64 {
        Entry::last_seen(self)
    }
}

/// Reads one field.
macro_rules! get {
    ($place:expr, $field:ident) => {
        // SAFETY: array entries live as long as the map; others may write, a field at a time.
        unsafe { addr_of!((*$place.0.as_ptr()).$field).read_volatile() }
    };
}

/// A hop where it is kept.
#[derive(Clone, Copy)]
pub struct HopPlace(NonNull<Hop>);

impl HopPlace {
    /// The one with this number, if it has one.
    #[inline(always)]
    #[must_use]
    pub fn find(number: u16) -> Option<Self> {
        if number == 0 {
            return None;
        }
        NonNull::new(HOPS.get_ptr_mut(number.into())?).map(Self)
    }

    /// The device its packets left by; 0 while it is written.
    #[inline(always)]
    #[must_use]
    pub fn device(&self) -> u32 {
        get!(self, device)
    }

    /// The device its packets came in by.
    #[inline(always)]
    #[must_use]
    pub fn from(&self) -> u32 {
        get!(self, from)
    }

    /// Traffic class of all of them.
    #[inline(always)]
    #[must_use]
    pub fn class(&self) -> u8 {
        get!(self, class)
    }

    /// Bytes of link header where its packets come in, and where they leave.
    #[inline(always)]
    #[must_use]
    pub fn headers(&self) -> (u8, u8) {
        (get!(self, came), get!(self, header))
    }

    /// Where the Ethernet header says that its packets go which come in: a word and the half after it.
    #[inline(always)]
    #[must_use]
    pub fn to(&self) -> (u32, u16) {
        let hop = self.0.as_ptr();
        // SAFETY: as in `get`; the address is six bytes, on a boundary of four (asserted below).
        unsafe {
            let to = addr_of!((*hop).to);
            (to.cast::<u32>().read_volatile(), to.byte_add(4).cast::<u16>().read_volatile())
        }
    }

    /// What its packets leave with.
    #[inline(always)]
    #[must_use]
    pub fn leave(&self) -> Leave {
        Leave {
            macs: self.macs(),
            header: get!(self, header),
            mark: get!(self, mark),
            priority: get!(self, priority),
        }
    }

    #[inline(always)]
    fn macs(&self) -> [u32; 3] {
        // SAFETY: as in `get`; both addresses are 12 bytes in a row, on a boundary of four (asserted
        // below).
        unsafe { addr_of!((*self.0.as_ptr()).dmac).cast::<[u32; 3]>().read_volatile() }
    }

    /// Whether it is this one.
    #[inline(always)]
    fn is(&self, hop: &Hop) -> bool {
        let (own, other) = (self.0.as_ptr().cast::<u32>(), core::ptr::from_ref(hop).cast::<u32>());
        let mut at = 0;
        while at < WORDS {
            // SAFETY: as in `get`; a hop begins with so many words (asserted below), here and there.
            let (own, other) =
                unsafe { (own.add(at).read_volatile(), other.add(at).read_volatile()) };
            if own != other {
                return false;
            }
            at += 1;
        }
        true
    }

    /// Makes it this one.
    #[inline(always)]
    fn write(&self, hop: &Hop) {
        let (own, other) = (self.0.as_ptr().cast::<u32>(), core::ptr::from_ref(hop).cast::<u32>());
        // SAFETY: a live, aligned field that is only ever replaced whole.
        let device = unsafe { &*addr_of!((*self.0.as_ptr()).device).cast::<Atomic32>() };
        device.publish(0);
        let mut at = 1;
        while at < WORDS {
            // SAFETY: as in `is`.
            unsafe { own.add(at).write_volatile(other.add(at).read_volatile()) };
            at += 1;
        }
        device.publish(hop.device);
    }

    /// Makes it this one if it is already, or if it is nobody's any more; `false` when it is another's.
    /// Not inlined, because of the stack.
    #[inline(never)]
    fn take(&self, hop: &Hop, now: u32) -> bool {
        // SAFETY: as in `write`.
        let noted = unsafe { &*addr_of!((*self.0.as_ptr()).noted).cast::<Atomic32>() };
        let before = noted.load();
        let age = Hop::age(before, now);
        if before != 0 && age < KEPT && self.is(hop) {
            // Where another one notes it at this moment, that will do.
            let _ = age == 0 || noted.replace(before, now);
            return true;
        }
        // Meanwhile it is nobody's: too old to be joined, not old enough to be taken.
        let between = Hop::stamp(u64::from(now.wrapping_sub(KEPT)) << 20);
        let left = before == 0 || age >= LEFT;
        if left && noted.replace(before, between) {
            self.write(hop);
            noted.publish(now);
            return true;
        }
        false
    }
}

/// The number of a hop, noted now; nothing when there is no place for it.
#[inline(always)]
#[must_use]
pub fn number(hop: &Hop, now: u32) -> Option<u16> {
    let first = hop.place();
    let mut turn = 0;
    while turn < TRIES {
        let number = (first + turn) & (Hop::MOST - 1);
        turn += 1;
        // 0 stands for none.
        let Some(place) = HopPlace::find(number as u16) else { continue };
        if place.take(hop, now) {
            return Some(number as u16);
        }
    }
    None
}

const _: () = assert!(offset_of!(Hop, to) % 4 == 0);
const _: () = assert!(offset_of!(Hop, device) == 0 && offset_of!(Hop, noted) == WORDS * 4);
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

    /// Says that the packet has another destination than it came in with.
    #[inline(always)]
    pub fn tell_translated(&mut self) {
        self.set_mark(TRANSLATED);
    }

    /// Whether the packet has another destination than it came in with; nothing where it bears a mark that
    /// means something else.
    #[inline(always)]
    #[must_use]
    pub fn was_translated(&self) -> Option<bool> {
        match self.mark() {
            0 => Some(false),
            TRANSLATED => Some(true),
            _ => None,
        }
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
