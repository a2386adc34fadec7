//! `outsides`, as far as the datapath itself keeps it up to date.

use core::{
    mem::offset_of,
    ptr::{NonNull, addr_of, addr_of_mut},
};

use aya_ebpf::maps::lpm_trie::Key;
use vnet_common::{
    Ipv4,
    policy::{Outside, Source, source},
    shortcut::Hop,
};

use super::{
    atomic::Atomic32,
    maps::{self, OUTSIDES, SOURCES},
};

/// The place of an outside address in `outsides`.
#[derive(Clone, Copy)]
pub struct Place {
    number: u32,
    entry: NonNull<Outside>,
}

/// Reads one field.
macro_rules! get {
    ($place:expr, $field:ident) => {
        // SAFETY: array entries live as long as the map; others may write, a field at a time.
        unsafe { addr_of!((*$place.entry.as_ptr()).$field).read_volatile() }
    };
}

const _: () = assert!(offset_of!(Outside, addr) % 4 == 0);

impl Place {
    /// The one with this number.
    #[inline(always)]
    #[must_use]
    pub fn find(number: u32) -> Option<Self> {
        Some(Self { number, entry: NonNull::new(OUTSIDES.get_ptr_mut(number)?)? })
    }

    /// The address now; 0.0.0.0 = none.
    #[inline(always)]
    #[must_use]
    pub fn addr(&self) -> Ipv4 {
        // SAFETY: as in `get`; entries are aligned, and the address is at a multiple of four (asserted
        // below), so it is one load.
        unsafe { addr_of!((*self.entry.as_ptr()).addr).cast::<u32>().read_volatile() }.to_ne_bytes()
    }

    /// Interface index of its uplink.
    #[inline(always)]
    #[must_use]
    pub fn link(&self) -> u32 {
        get!(self, link)
    }

    /// The one address that will do; 0.0.0.0 = any.
    #[inline(always)]
    #[must_use]
    pub fn asked(&self) -> Ipv4 {
        get!(self, asked)
    }

    /// Whether the kernel has been asked at this tick.
    #[inline(always)]
    #[must_use]
    pub fn is_fresh(&self, tick: u32) -> bool {
        get!(self, checked) == tick
    }

    /// Whether the kernel has been asked in the last second.
    #[inline(always)]
    #[must_use]
    pub fn is_recent(&self, tick: u32) -> bool {
        tick.wrapping_sub(get!(self, checked)) < Hop::SECOND
    }

    /// Takes it upon this CPU to ask the kernel at this tick; `false` when somebody has.
    #[inline(always)]
    #[must_use]
    pub fn refresh(&self, tick: u32) -> bool {
        // SAFETY: as in `get`; an aligned integer that is only exchanged whole.
        let checked = unsafe { &*addr_of!((*self.entry.as_ptr()).checked).cast::<Atomic32>() };
        let before = checked.load();
        before != tick && checked.replace(before, tick)
    }

    /// Another address, or none, from now on.
    #[inline(always)]
    pub fn set(&self, addr: Ipv4) {
        let old = self.addr();
        if maps::source(old).is_some_and(|found| self.is(found)) {
            // Nothing to remove is nothing to do.
            let _ = SOURCES.remove(&Key::new(32, old));
        }
        if addr != [0; 4] {
            let own = Source { action: source::OUTSIDE, number: self.number };
            // Where there is no room, the host's own packets are judged like others'.
            let _ = SOURCES.insert(&Key::new(32, addr), own, 0);
        }
        // SAFETY: as in `get`.
        unsafe { addr_of_mut!((*self.entry.as_ptr()).addr).write_volatile(addr) };
    }

    #[inline(always)]
    fn is(&self, found: &Source) -> bool {
        found.action == source::OUTSIDE && found.number == self.number
    }
}
