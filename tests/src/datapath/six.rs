//! IPv6 of a datapath that is tried.

use std::net::Ipv6Addr;

use aya::maps::lpm_trie::{Key, LpmTrie};
use vnet_common::account::Reason;
use vnet_common::nat66::{Handle, Own6, Uplink6};
use vnet_common::policy::{Config, config_flag};
use vnet_common::prefix6::Prefix6;

use super::{Datapath, Hook};
use crate::packet6::{ETHER_TYPE, Packet6};
use crate::test_run::Context;

impl Datapath {
    /// Translates IPv6 between two prefixes of 48 bits, and keeps an address of this host.
    ///
    /// # Panics
    /// When the map is not the one vnet-common describes.
    pub fn prefixes6(&mut self, inside: Ipv6Addr, outside: Ipv6Addr, kept: Ipv6Addr) {
        let map = self.loaded.get_mut().ebpf().map_mut("prefixes6");
        let map = map.expect("the object has prefixes6");
        let mut map: LpmTrie<_, [u8; 16], Prefix6> = map.try_into().expect("a trie of Prefix6");
        let (out, back) = Prefix6::pair(inside.octets(), outside.octets(), 48);
        let rows = [(48, inside, out), (48, outside, back), (128, kept, Prefix6::keep())];
        for (length, net, to) in rows {
            map.insert(&Key::new(length, net.octets()), to, 0).expect("prefixes6 has room");
        }
        let config: Config = self.array("config").get(&0, 0).expect("config has an entry");
        let config = Config { flags: config.flags | config_flag::IPV6, ..config };
        self.array("config").set(0, config, 0).expect("config has an entry");
    }

    /// Masquerades IPv6 by this address, with the last of the pools. `change` tells it from one the
    /// uplink had before.
    ///
    /// # Panics
    /// When the map is not the one vnet-common describes.
    pub fn masquerade6(&mut self, address: Ipv6Addr, change: u32) {
        let config: Config = self.array("config").get(&0, 0).expect("config has an entry");
        let outside = config.addresses - 1;
        let handle = Handle::outside(change, outside).addr();
        let addr = address.octets();
        let uplink = Uplink6 { addr, handle, outside, asked: 0 };
        let index = self.uplink.index;
        for key in uplink.keys() {
            self.hash::<[u8; 16], Own6>("own6")
                .insert(key, Own6 { link: index }, 0)
                .expect("own6 has room");
        }
        self.hash("uplinks6").insert(index, uplink, 0).expect("uplinks6 has room");
        let config = Config { flags: config.flags | config_flag::IPV6, ..config };
        self.array("config").set(0, config, 0).expect("config has an entry");
    }

    /// Tries an IPv6 packet in any context; it must meet just this end. Returns what is left of it.
    #[track_caller]
    pub fn judged6(&self, hook: Hook, context: &Context, packet: &Packet6, end: Reason) -> Packet6 {
        let left = self.judged_frame(hook, context, &frame6(&packet.bytes()), end);
        Packet6::read_frame(&left).unwrap_or_else(|| panic!("{packet:?} became {left:x?}"))
    }
}

/// An Ethernet frame with an IPv6 packet.
#[must_use]
pub fn frame6(packet: &[u8]) -> Vec<u8> {
    [&[2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2], &ETHER_TYPE.to_be_bytes()[..], packet].concat()
}

/// Whether an IPv6 packet that meets this end has been changed.
pub(super) fn is_translation(end: Reason) -> bool {
    matches!(end, Reason::NptOut | Reason::NptIn | Reason::NptHairpin)
}
