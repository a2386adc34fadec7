//! The tables the datapath writes, read for people: connections, mappings, counters.

use std::collections::HashMap as Seen;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsFd as _, AsRawFd as _};

use aya::maps::{Array, HashMap, MapData, MapError, PerCpuArray};
use vnet_common::Ipv4;
use vnet_common::account::{Counter, Reason};
use vnet_common::flow::{Direction, Flow, FlowKey};
use vnet_common::nat66::{Address6, Handle};
use vnet_common::shortcut::Hop;
use vnet_common::translate::{Endpoint, Mapping, Owner, owner_index, pool};

use super::error::Error;
use super::maps::Maps;
use super::pins::{MAPS, Pins};

/// A connection: its two entries of `flows4`.
#[derive(Clone, Copy, Debug)]
pub struct Connection {
    /// Key of the entry whose direction is out: inside source, and destination.
    pub key: FlowKey,
    /// That entry: it carries the outside source.
    pub out: Flow,
    /// The entry of the other direction; zero while it is being made or removed.
    pub back: Flow,
}

/// A mapping and how many connections use it.
#[derive(Clone, Copy, Debug)]
pub struct MappingRow {
    /// The inside end.
    pub inside: Endpoint,
    /// The outside end.
    pub mapping: Mapping,
    /// Connections that use it.
    pub uses: u32,
}

/// What addresses in tables are to people: of IPv4 themselves, and of IPv6 what their handle stands
/// for.
pub struct Addresses {
    outside: Seen<Ipv4, Ipv6Addr>,
    places: Array<MapData, Address6>,
}

impl Addresses {
    /// An address of a table. One of IPv6 that has left since, and whose place is another's, is `::`.
    #[must_use]
    pub fn read(&self, addr: Ipv4) -> IpAddr {
        let Some(handle) = Handle::read(addr) else { return Ipv4Addr::from(addr).into() };
        let known = match handle.place() {
            None => self.outside.get(&addr).copied(),
            Some(place) => self.places.get(&place, 0).ok().and_then(|place| read(handle, &place)),
        };
        known.unwrap_or(Ipv6Addr::UNSPECIFIED).into()
    }
}

/// The address in a place, which it keeps until another one comes.
fn read(handle: Handle, place: &Address6) -> Option<Ipv6Addr> {
    let left = place.uses == 0 && handle.is_of(place.generation.wrapping_sub(1));
    (left || handle.is_of(place.generation)).then(|| place.addr.into())
}

/// The hops of one instance, by number.
pub struct Hops(Array<MapData, Hop>);

impl Hops {
    /// The one with this number, if it is one.
    #[must_use]
    pub fn get(&self, number: u16) -> Option<Hop> {
        let hop = self.0.get(&u32::from(number), 0).ok()?;
        (number != 0 && hop.device != 0).then_some(hop)
    }
}

fn memory(map: &MapData) -> Option<u64> {
    let fdinfo = format!("/proc/self/fdinfo/{}", map.fd().as_fd().as_raw_fd());
    let text = fs::read_to_string(fdinfo).ok()?;
    text.lines().find_map(|line| line.strip_prefix("memlock:")?.trim().parse().ok())
}

/// The tables of one instance.
#[derive(Clone, Debug)]
pub struct Tables {
    pins: Pins,
}

impl Tables {
    /// Those pinned there.
    #[must_use]
    pub const fn of(pins: Pins) -> Self {
        Self { pins }
    }

    pub(super) const fn pins(&self) -> &Pins {
        &self.pins
    }

    fn entries(&self) -> Result<Seen<FlowKey, Flow>, Error> {
        let map: HashMap<MapData, FlowKey, Flow> = Maps::of(&self.pins).open("flows4")?;
        // An entry that is removed while it is read makes the kernel start anew: keep each once.
        let entries = map.iter().collect::<Result<_, _>>();
        entries.map_err(|source| Error::map("read", "flows4", source))
    }

    /// Every connection.
    ///
    /// # Errors
    /// When the map cannot be read.
    pub fn connections(&self) -> Result<Vec<Connection>, Error> {
        let entries = self.entries()?;
        let out = entries.iter().filter(|(_, flow)| flow.direction == Direction::Out as u8);
        let joined = out.map(|(key, flow)| {
            let back = entries.get(&flow.twin(key.proto)).copied().unwrap_or_default();
            Connection { key: *key, out: *flow, back }
        });
        Ok(joined.collect())
    }

    /// Every mapping.
    ///
    /// # Errors
    /// When a map cannot be read.
    pub fn mappings(&self) -> Result<Vec<MappingRow>, Error> {
        let maps = Maps::of(&self.pins);
        let mappings: HashMap<MapData, Endpoint, Mapping> = maps.open("mappings")?;
        let owners: Array<MapData, Owner> = maps.open("owners")?;
        let mut rows = Vec::new();
        for entry in mappings.iter() {
            let (inside, mapping) =
                entry.map_err(|source| Error::map("read", "mappings", source))?;
            let number = pool::number(inside.outside, inside.proto);
            let owner = number.map(|pool| owners.get(&owner_index(pool, mapping.port), 0));
            let owner = owner.transpose().map_err(|source| Error::map("read", "owners", source))?;
            rows.push(MappingRow { inside, mapping, uses: owner.unwrap_or_default().uses });
        }
        Ok(rows)
    }

    /// The hops that connections remember.
    ///
    /// # Errors
    /// When the map cannot be opened.
    pub fn hops(&self) -> Result<Hops, Error> {
        Ok(Hops(Maps::of(&self.pins).open("hops")?))
    }

    /// What the addresses of its connections and mappings are to people.
    ///
    /// # Errors
    /// When a map cannot be read.
    pub fn addresses(&self) -> Result<Addresses, Error> {
        let maps = Maps::of(&self.pins);
        let uplinks = maps.uplinks6()?.into_values();
        let outside = uplinks.map(|uplink| (uplink.handle, Ipv6Addr::from(uplink.addr)));
        Ok(Addresses { outside: outside.collect(), places: maps.open("addresses6")? })
    }

    /// Bytes of kernel memory that its maps take, as the kernel counts them (`memlock` in a map's fdinfo):
    /// with what is in them since Linux 6.4, before that the most they can take.
    #[must_use]
    pub fn memory(&self) -> u64 {
        let maps = MAPS.iter().filter_map(|name| MapData::from_pin(self.pins.map(name)).ok());
        maps.filter_map(|map| memory(&map)).sum()
    }

    /// How many connections and mappings there are.
    ///
    /// # Errors
    /// When a map cannot be read.
    pub fn counts(&self) -> Result<(usize, usize), Error> {
        let maps = Maps::of(&self.pins);
        let flows: HashMap<MapData, FlowKey, Flow> = maps.open("flows4")?;
        let mappings: HashMap<MapData, Endpoint, Mapping> = maps.open("mappings")?;
        let count = |keys: Result<usize, MapError>, map| {
            keys.map_err(|source| Error::map("read", map, source))
        };
        let flows = count(flows.keys().try_fold(0, |n, key| key.map(|_| n + 1)), "flows4")?;
        let mappings = count(mappings.keys().try_fold(0, |n, key| key.map(|_| n + 1)), "mappings")?;
        Ok((flows / 2, mappings))
    }

    /// Every counter, summed over the processors, in the order of [`Reason::ALL`].
    ///
    /// # Errors
    /// When the map cannot be read.
    pub fn counters(&self) -> Result<Vec<(Reason, Counter)>, Error> {
        let map: PerCpuArray<MapData, Counter> = Maps::of(&self.pins).open("counters")?;
        let sum = |reason: Reason| {
            let values = map.get(&(reason as u32), 0)?;
            let mut sum = Counter::default();
            for value in values.iter() {
                sum.packets = sum.packets.wrapping_add(value.packets);
                sum.bytes = sum.bytes.wrapping_add(value.bytes);
            }
            Ok::<_, MapError>((reason, sum))
        };
        let all = Reason::ALL.into_iter().map(sum).collect::<Result<_, _>>();
        all.map_err(|source| Error::map("read", "counters", source))
    }
}
