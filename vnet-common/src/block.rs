//! Port blocks: the ports an inside host has for itself, computed from its address alone, so that
//! nobody needs a log to tell who had a port (RFC 7422).
//!
//! Hosts are numbered through all inside prefixes. The first hosts have the blocks of the first
//! outside address, from its first port on, and so forth; what is left of an address beyond its last
//! whole block is nobody's.

use core::num::NonZeroU32;

use crate::policy::Config;

/// How outside ports are divided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Blocks {
    first: u32,
    size: NonZeroU32,
    /// Blocks of one outside address.
    count: NonZeroU32,
}

/// A block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Block {
    /// Which of its uplink's outside addresses it is on, counted from 0.
    pub address: u32,
    /// First port.
    pub min: u16,
    /// Last port.
    pub max: u16,
}

impl Blocks {
    /// As the instance divides its ports; `None` when it does not.
    #[inline(always)]
    #[must_use]
    pub fn of(config: &Config) -> Option<Self> {
        let (first, size) = (u32::from(config.port_min), config.port_block);
        let ports = u32::from(config.port_max).saturating_sub(first) + 1;
        // Numbers that cannot be zero divide without a panic, which no program in the kernel has.
        let size = NonZeroU32::new(size)?;
        Some(Self { first, size, count: NonZeroU32::new(ports / size)? })
    }

    /// How many hosts one outside address has room for.
    #[must_use]
    pub const fn per_address(&self) -> u32 {
        self.count.get()
    }

    /// The block of host number `host`.
    #[inline(always)]
    #[must_use]
    pub fn block(&self, host: u32) -> Block {
        let (size, address) = (self.size.get(), host / self.count);
        let min = self.first + host % self.count * size;
        Block { address, min: min as u16, max: (min + size - 1) as u16 }
    }

    /// Number of the host that has this port of its uplink's outside address number `address`,
    /// counted from 0; `None` when the port is in no block.
    #[must_use]
    pub fn host(&self, address: u32, port: u16) -> Option<u32> {
        let block = u32::from(port).checked_sub(self.first)? / self.size;
        let count = self.count.get();
        if block < count { address.checked_mul(count)?.checked_add(block) } else { None }
    }
}
