//! Forwards of a [`Datapath`], written as a control plane would.

use aya::maps::lpm_trie::{Key, LpmTrie};
use vnet_common::forward::{Forward, Order, Place, order};
use vnet_common::policy::Config;
use vnet_common::translate::pool;
use vnet_ctl::state::{Table, places, spans};

use crate::datapath::Datapath;

impl Datapath {
    /// Writes `forwards` and `forwarded` as a control plane would, with these forwards and no other,
    /// takes their ports out of the pools, and raises the epoch.
    ///
    /// # Panics
    /// When the maps are not those vnet-common describes.
    pub fn forward(&mut self, proto: u8, forwards: &[Forward]) {
        for table in Table::ALL {
            let map = self.loaded.get_mut().ebpf().map_mut(table.name());
            let map = map.expect("the object has both tables");
            let mut map: LpmTrie<_, Place, Forward> = map.try_into().expect("a trie of Forward");
            let old: Vec<_> = map.keys().map(|key| key.expect("the trie can be read")).collect();
            old.iter().for_each(|key| map.remove(key).expect("it was there"));
            for forward in forwards {
                let count = u32::from(forward.last - forward.first) + 1;
                let own = places(proto, forward).into_iter().filter(|(own, _)| *own == table);
                for span in own.flat_map(|(_, place)| spans(place, count)) {
                    map.insert(&Key::new(span.len, span.place), forward, 0).expect("room");
                }
            }
        }
        let pool = pool::number(0, proto).expect("a protocol with ports");
        self.order(&Order {
            what: order::GIVE,
            pool,
            first: 1,
            last: u16::MAX,
            ..Order::default()
        });
        for Forward { first, last, .. } in forwards {
            let (first, last) = (*first, *last);
            self.order(&Order { what: order::TAKE, pool, first, last, ..Order::default() });
        }
        let mut config = self.array::<Config>("config");
        let before = config.get(&0, 0).expect("config has an entry");
        let after = Config { epoch: before.epoch + 1, ..before };
        config.set(0, after, 0).expect("config has an entry");
    }

    /// Has the datapath carry out an order.
    ///
    /// # Panics
    /// When it refuses.
    pub fn order(&self, order: &Order) -> u32 {
        self.loaded.borrow_mut().order(order).unwrap_or_else(|e| panic!("{e}"))
    }
}
