//! `pools` and `owners`: outside ports and who holds them.

use core::ptr::{NonNull, addr_of, addr_of_mut};

use aya_ebpf::{btf_maps::Array, macros::btf_map};
use vnet_common::{
    Ipv4,
    flow::flag,
    port::PortPool,
    translate::{Owner, owner_index, pool},
};

use super::{atomic::Atomic32, maps::SIZED_BY_ADDRESSES};
use crate::{opening::Opening, port::Pool};

/// Pools of as many addresses as the maps are declared for.
const POOLS_DECLARED: usize = pool::PER_ADDRESS as usize * SIZED_BY_ADDRESSES;
#[btf_map(name = "owners")]
static OWNERS: Array<Owner, { POOLS_DECLARED << 16 }> = Array::new();
#[btf_map(name = "pools")]
static POOLS: Array<PortPool, POOLS_DECLARED> = Array::new();

/// Pool number `number`.
#[inline(always)]
#[must_use]
pub fn pool(number: u32) -> Option<&'static Pool> {
    let pool: *const Pool = POOLS.get_ptr(number)?.cast();
    // SAFETY: `Pool` has the layout of `PortPool` with atomics in the place of integers (sizes are
    // asserted beside it), and array entries live as long as the map.
    Some(unsafe { &*pool })
}

/// Bits of an opening's flags that are also its mapping's.
const OF_OWNER: u8 = flag::HOST | flag::COUNTED;

/// The slot of an outside port. Slots are part of an array: never freed, never another port's.
#[derive(Clone, Copy)]
pub struct Slot(NonNull<Owner>);

impl Slot {
    /// The slot of `port` in pool number `pool`.
    #[inline(always)]
    #[must_use]
    pub fn find(pool: u32, port: u16) -> Option<Self> {
        NonNull::new(OWNERS.get_ptr_mut(owner_index(pool, port))?).map(Self)
    }

    #[inline(always)]
    fn uses(&self) -> &Atomic32 {
        // SAFETY: a live, aligned field (see `find`), only ever changed through this type.
        unsafe { &*addr_of!((*self.0.as_ptr()).uses).cast::<Atomic32>() }
    }

    /// Whether any mapping holds the port.
    #[inline(always)]
    #[must_use]
    pub fn held(&self) -> bool {
        self.uses().load() != 0
    }

    /// Address and port of who holds the port, or was the last one to.
    #[inline(always)]
    #[must_use]
    pub fn holder(&self) -> (Ipv4, u16) {
        let owner = self.0.as_ptr();
        // SAFETY: live fields; the holder of the port's bit is the only one who writes them.
        unsafe { (addr_of!((*owner).addr).read(), addr_of!((*owner).port).read()) }
    }

    /// Whether this host itself holds the port, or was the last one to.
    #[inline(always)]
    #[must_use]
    pub fn of_host(&self) -> bool {
        self.flags() & flag::HOST != 0
    }

    /// Bits of [`flag`] about who holds the port, or was the last one to.
    #[inline(always)]
    #[must_use]
    pub fn flags(&self) -> u8 {
        // SAFETY: as in `holder`.
        unsafe { addr_of!((*self.0.as_ptr()).flags).read() as u8 }
    }

    /// Gives the port to the opening's endpoint, with one use. Only who claimed the port's bit may
    /// call it. The uses are raised last, and by an instruction that orders: who sees them sees
    /// the holder.
    #[inline(always)]
    pub fn give(&self, opening: &Opening) {
        let owner = self.0.as_ptr();
        // SAFETY: as in `holder`; the caller holds the bit, so nobody else writes.
        unsafe {
            addr_of_mut!((*owner).addr).write(opening.key.saddr);
            addr_of_mut!((*owner).port).write(opening.key.sport);
            addr_of_mut!((*owner).flags).write(u16::from(opening.flags & OF_OWNER));
        }
        self.uses().publish(1);
    }

    /// One more flow uses the mapping; `false` when it has just ended.
    #[inline(always)]
    #[must_use]
    pub fn join(&self) -> bool {
        let uses = self.uses();
        for _ in 0..8 {
            let now = uses.load();
            if now == 0 {
                return false;
            }
            if uses.replace(now, now + 1) {
                return true;
            }
        }
        false
    }

    /// One flow fewer; `true` when it was the last, and the caller must give the port back.
    #[inline(always)]
    #[must_use]
    pub fn leave(&self) -> bool {
        self.uses().decrement() == 1
    }
}
