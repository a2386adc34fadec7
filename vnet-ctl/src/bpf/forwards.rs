//! The maps of forwards, and the orders to the datapath about their ports.

use std::collections::BTreeMap;

use aya::maps::lpm_trie::{Key, LpmTrie};
use aya::maps::{Array, HashMap, MapData, MapError};
use vnet_common::flow::flag;
use vnet_common::forward::{Forward, Order, Place, Rule, order};
use vnet_common::policy::Outside;
use vnet_common::port::PortPool;
use vnet_common::translate::{Owner, owner_index};

use super::error::{Error, is_absent};
use super::load::{Loaded, Sizes};
use super::maps::{Maps, absent_is_fine};
use super::pins::Pins;
use super::tables::Connection;
use crate::spec::Ports;
use crate::state::{Entries, Forwarding, Holder, PoolPorts, Span, Table, ranges};

impl Maps<'_> {
    /// Everything about forwards.
    ///
    /// # Errors
    /// When a map cannot be read.
    pub fn forwarding(&self, outsides: &BTreeMap<u32, Outside>) -> Result<Forwarding, Error> {
        let rules: HashMap<MapData, u32, Rule> = self.open("rules")?;
        let rules = rules.iter().collect::<Result<_, _>>();
        let rules = rules.map_err(|source| Error::map("read", "rules", source))?;
        let made = Forwarding::of(rules, outsides);
        let mut entries = Entries::new();
        for table in Table::ALL {
            for entry in self.forward_table(table)?.iter() {
                let (key, forward) =
                    entry.map_err(|source| Error::map("read", table.name(), source))?;
                let span = Span { place: key.data(), len: key.prefix_len() };
                entries.insert((table, span), forward);
            }
        }
        let (reserved, loose) = self.reserved(&made.covered)?;
        Ok(Forwarding { entries, reserved, loose, ..made })
    }

    fn forward_table(&self, table: Table) -> Result<LpmTrie<MapData, Place, Forward>, Error> {
        self.open(table.name())
    }

    /// Ports that are reserved, and those that are covered but not taken out of their pool.
    fn reserved(
        &self,
        covered: &[(u32, PoolPorts)],
    ) -> Result<(Vec<PoolPorts>, Vec<PoolPorts>), Error> {
        let map: Array<MapData, PortPool> = self.open("pools")?;
        let (mut reserved, mut loose) = (Vec::new(), Vec::new());
        for number in 0..map.len() {
            let pool = map.get(&number, 0);
            let pool = pool.map_err(|source| Error::map("read", "pools", source))?;
            let with = |ports| PoolPorts { pool: number, ports };
            if pool.reserved.top != 0 || !pool.reserved.is_empty() {
                reserved.extend(ranges(|port| pool.reserved.contains(port)).into_iter().map(with));
            }
            for (_, all) in covered.iter().filter(|(_, all)| all.pool == number) {
                let open = ranges(|port| all.ports.contains(port) && is_open(&pool, port));
                loose.extend(open.into_iter().map(with));
            }
        }
        Ok((reserved, loose))
    }

    /// The rule with that number.
    ///
    /// # Errors
    /// When the map cannot be read.
    pub fn rule(&self, id: u32) -> Result<Option<Rule>, Error> {
        let map: HashMap<MapData, u32, Rule> = self.open("rules")?;
        match map.get(&id, 0) {
            Ok(rule) => Ok(Some(rule)),
            Err(error) if is_absent(&error) => Ok(None),
            Err(source) => Err(Error::map("read", "rules", source)),
        }
    }

    /// Writes an entry of `rules`.
    ///
    /// # Errors
    /// When the map is full.
    pub fn put_rule(&self, rule: &Rule) -> Result<(), Error> {
        let mut map: HashMap<MapData, u32, Rule> = self.open("rules")?;
        let put = map.insert(rule.forward.id, rule, 0);
        put.map_err(|source| Error::map("write", "rules", source))
    }

    /// Removes an entry of `rules`.
    ///
    /// # Errors
    /// When the map cannot be written.
    pub fn drop_rule(&self, id: u32) -> Result<(), Error> {
        let mut map: HashMap<MapData, u32, Rule> = self.open("rules")?;
        absent_is_fine("rules", map.remove(&id))
    }

    /// Writes an entry of one of the two tables, or removes it.
    ///
    /// # Errors
    /// When the map is full.
    pub fn set_forward(
        &self,
        table: Table,
        span: &Span,
        forward: Option<&Forward>,
    ) -> Result<(), Error> {
        let mut map = self.forward_table(table)?;
        let key = Key::new(span.len, span.place);
        let Some(forward) = forward else {
            return absent_is_fine(table.name(), map.remove(&key));
        };
        let put = map.insert(&key, forward, 0);
        put.map_err(|source| Error::map("write", table.name(), source))
    }

    /// Who holds ports by mappings.
    ///
    /// # Errors
    /// When a map cannot be read.
    pub fn holders(&self, ports: PoolPorts) -> Result<Vec<Holder>, Error> {
        let fault = |map| move |source: MapError| Error::map("read", map, source);
        let pools: Array<MapData, PortPool> = self.open("pools")?;
        let pool = pools.get(&ports.pool, 0).map_err(fault("pools"))?;
        let owners: Array<MapData, Owner> = self.open("owners")?;
        let mut holders = Vec::new();
        let Ports { min, max } = ports.ports;
        let held = |port: &u16| !is_open(&pool, *port) && !pool.reserved.contains(*port);
        for port in (min..=max).filter(held) {
            let index = owner_index(ports.pool, port);
            let owner = owners.get(&index, 0).map_err(fault("owners"))?;
            let Owner { uses: flows, addr, port: inside_port, flags } = owner;
            if flows > 0 {
                let host = flags & u16::from(flag::HOST) != 0;
                holders.push(Holder { port, addr, inside_port, flows, host });
            }
        }
        Ok(holders)
    }
}

/// Whether anybody may be given the port, now or when it has rested.
fn is_open(pool: &PortPool, port: u16) -> bool {
    [&pool.free, &pool.rested, &pool.resting].into_iter().any(|set| set.contains(port))
}

/// The datapath's own hands: what is done with them holds while packets pass.
pub struct Orders {
    loaded: Loaded,
}

impl Orders {
    /// For the instance with those maps.
    ///
    /// # Errors
    /// When the kernel refuses the program.
    pub fn to(pins: &Pins) -> Result<Self, Error> {
        let config = Maps::of(pins).config()?;
        let sizes = Sizes { log_level: 0, ..(&config).into() };
        let mut loaded = Loaded::load(sizes, Some(pins))?;
        loaded.load_orders()?;
        Ok(Self { loaded })
    }

    /// Takes ports out of their pool; returns how many of them somebody holds.
    ///
    /// # Errors
    /// When the kernel does not run the program.
    pub fn take(&mut self, ports: PoolPorts) -> Result<u32, Error> {
        self.loaded.order(&of_ports(order::TAKE, ports))
    }

    /// Gives ports back.
    ///
    /// # Errors
    /// When the kernel does not run the program.
    pub fn give(&mut self, ports: PoolPorts) -> Result<(), Error> {
        self.loaded.order(&of_ports(order::GIVE, ports)).map(drop)
    }

    /// Ends a connection.
    ///
    /// # Errors
    /// When the kernel does not run the program.
    pub fn end(&mut self, connection: &Connection) -> Result<(), Error> {
        let key = &connection.key;
        let order = Order {
            what: order::END,
            saddr: key.saddr,
            daddr: key.daddr,
            sport: key.sport,
            dport: key.dport,
            proto: key.proto.into(),
            ..Order::default()
        };
        self.loaded.order(&order).map(drop)
    }
}

fn of_ports(what: u32, PoolPorts { pool, ports }: PoolPorts) -> Order {
    Order { what, pool, first: ports.min, last: ports.max, ..Order::default() }
}
