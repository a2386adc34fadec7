//! `hosts`: what inside hosts have, counted by all CPUs at once.

use core::ptr::{NonNull, addr_of};

use aya_ebpf::{bindings::BPF_NOEXIST, btf_maps::LruHashMap, macros::btf_map};
use vnet_common::{Ipv4, host::Host};

use super::atomic::Atomic32;

/// Those who have been seen last. Who is pushed out is counted anew.
#[btf_map(name = "hosts")]
static HOSTS: LruHashMap<Ipv4, Host, 16384> = LruHashMap::new();

/// What of a host is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// Its mappings.
    Mappings,
    /// Its connections.
    Flows,
}

/// An entry of `hosts`. One that is pushed out may become another host's under the hand: then a
/// number is wrong by one, and a limit with it.
#[derive(Clone, Copy)]
pub struct Account(NonNull<Host>);

impl Account {
    /// That of a host, if it has one.
    #[inline(always)]
    #[must_use]
    pub fn find(addr: Ipv4) -> Option<Self> {
        NonNull::new(HOSTS.get_ptr_mut(addr)?).map(Self)
    }

    /// That of a host, made if it has none.
    #[inline(always)]
    #[must_use]
    pub fn open(addr: Ipv4) -> Option<Self> {
        Self::find(addr).or_else(|| {
            // Another CPU may have made it at this moment: it is found all the same.
            let _ = HOSTS.insert(addr, Host::default(), u64::from(BPF_NOEXIST));
            Self::find(addr)
        })
    }

    #[inline(always)]
    fn number(&self, what: What) -> &Atomic32 {
        let host = self.0.as_ptr();
        // SAFETY: live, aligned fields, only ever changed through this type.
        unsafe {
            match what {
                What::Mappings => &*addr_of!((*host).mappings).cast::<Atomic32>(),
                What::Flows => &*addr_of!((*host).flows).cast::<Atomic32>(),
            }
        }
    }

    /// One more, unless there are `limit` already; 0 = no limit.
    #[inline(always)]
    #[must_use]
    pub fn take(&self, what: What, limit: u32) -> bool {
        let number = self.number(what);
        let before = number.increment();
        if limit != 0 && before >= limit {
            let _ = number.decrement();
            return false;
        }
        true
    }

    /// One fewer; never below none.
    #[inline(always)]
    pub fn give_back(&self, what: What) {
        let number = self.number(what);
        if number.load() != 0 {
            let _ = number.decrement();
        }
    }
}
