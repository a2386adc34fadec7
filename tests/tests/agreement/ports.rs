//! The host's own pools, from which it takes what the kernel has given out.

use std::collections::HashMap;
use std::net::Ipv4Addr;

use vnet_common::flow::proto;
use vnet_common::port::{PortPool, position};
use vnet_common::translate::{Endpoint, pool};
use vnet_ebpf::packet::Packet;
use vnet_ebpf::port::Pool;
use vnet_tests::datapath::OUTSIDE;

use crate::follow::Entries;
use crate::pair::Pair;

/// The pools, and whose each port is.
pub(crate) struct Ports {
    pools: [Pool; pool::PER_ADDRESS as usize],
    mapped: HashMap<Endpoint, u16>,
}

impl Ports {
    /// Every port is free.
    pub(crate) fn new() -> Self {
        let pools = std::array::from_fn(|_| Pool::from(&PortPool::FULL));
        Self { pools, mapped: HashMap::new() }
    }

    /// Judges the port that a new connection was given.
    ///
    /// # Panics
    /// When the host's pools would not have given it.
    pub(crate) fn opened(&mut self, packet: &Packet, made: &Entries) {
        let key = &packet.key;
        let endpoint = Endpoint { addr: key.saddr, port: key.sport, proto: key.proto, outside: 0 };
        let port = made.own.sport;
        let Some(number) = pool::number(0, key.proto) else { return };
        if let Some(known) = self.mapped.get(&endpoint) {
            assert_eq!(port, *known, "{endpoint:?} has one port towards everybody");
            return;
        }
        self.mapped.insert(endpoint, port);
        let pool = &self.pools[number as usize];
        let in_range =
            |port| key.proto == proto::ICMP || port >= 1024 || port > 0 && key.sport < 1024;
        let own_may = in_range(key.sport) || Ipv4Addr::from(key.saddr) == OUTSIDE;
        if own_may && pool.claim(key.sport, false) {
            assert_eq!(port, key.sport, "its own port was free: {endpoint:?}");
        } else {
            assert!(in_range(port), "{port} is out of the range: {endpoint:?}");
            assert!(pool.claim(port, false), "{port} was not free: {endpoint:?}");
        }
    }

    /// Asserts that the kernel's pools are the host's, port by port.
    ///
    /// # Panics
    /// When they differ.
    pub(crate) fn compare(&self, pair: &mut Pair) {
        for (number, pool) in self.pools.iter().enumerate() {
            let kernel: PortPool =
                pair.datapath.array("pools").get(&(number as u32), 0).expect("a pool");
            for port in 0..=u16::MAX {
                let place = position(port);
                let bit = kernel.free.words[usize::from(place >> 6)] >> (place & 63) & 1;
                assert_eq!(pool.free.claim(port), bit == 1, "port {port} of pool {number}");
            }
        }
    }
}
