//! The maps the control plane writes, opened by their pins.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, Ipv6Addr};

use aya::Pod;
use aya::maps::lpm_trie::{Key, LpmTrie};
use aya::maps::{Array, HashMap, Map, MapData, MapError};
use ipnet::{Ipv4Net, Ipv6Net};
use vnet_common::Ipv6;
use vnet_common::nat66::{Own6, Uplink6};
use vnet_common::policy::{Config, Link, Outside, Source, Sysctl, SysctlName, source};
use vnet_common::port::PortPool;
use vnet_common::prefix6::Prefix6;

use super::error::{Error, is_absent};
use super::pins::Pins;
use super::xdp::set_exit;
use crate::state::{read_name, write_name};

/// The maps of one instance.
#[derive(Clone, Debug)]
pub struct Maps<'a> {
    pins: &'a Pins,
}

impl<'a> Maps<'a> {
    /// Those pinned there.
    #[must_use]
    pub const fn of(pins: &'a Pins) -> Self {
        Self { pins }
    }

    /// Opens a map as the type it must have; another record size is an error.
    pub(super) fn open<M>(&self, name: &str) -> Result<M, Error>
    where
        M: TryFrom<Map, Error = MapError>,
    {
        let opened = MapData::from_pin(self.pins.map(name)).and_then(Map::from_map_data);
        opened.and_then(M::try_from).map_err(|source| Error::map("open", name, source))
    }

    fn hash<K: Pod, V: Pod>(&self, name: &str) -> Result<HashMap<MapData, K, V>, Error> {
        self.open(name)
    }

    /// `config`.
    ///
    /// # Errors
    /// When the map cannot be read.
    pub fn config(&self) -> Result<Config, Error> {
        let map: Array<MapData, Config> = self.open("config")?;
        map.get(&0, 0).map_err(|source| Error::map("read", "config", source))
    }

    /// Writes `config`.
    ///
    /// # Errors
    /// When the map cannot be written.
    pub fn write_config(&self, config: &Config) -> Result<(), Error> {
        let mut map: Array<MapData, Config> = self.open("config")?;
        map.set(0, config, 0).map_err(|source| Error::map("write", "config", source))
    }

    /// Gives every pool all of its ports.
    ///
    /// # Errors
    /// When the map cannot be written.
    pub fn fill_pools(&self) -> Result<(), Error> {
        let mut map: Array<MapData, PortPool> = self.open("pools")?;
        for index in 0..map.len() {
            let filled = map.set(index, PortPool::FULL, 0);
            filled.map_err(|source| Error::map("fill", "pools", source))?;
        }
        Ok(())
    }

    /// `outsides`: the numbers that are in use. When each was checked is the datapath's own matter,
    /// and left out.
    ///
    /// # Errors
    /// When the map cannot be read.
    pub fn outsides(&self) -> Result<BTreeMap<u32, Outside>, Error> {
        let map: Array<MapData, Outside> = self.open("outsides")?;
        let rows = (0..map.len())
            .map(|number| Ok((number, Outside { checked: 0, ..map.get(&number, 0)? })));
        let rows: Result<BTreeMap<_, _>, MapError> = rows.collect();
        let mut rows = rows.map_err(|source| Error::map("read", "outsides", source))?;
        rows.retain(|_, outside| *outside != Outside::default());
        Ok(rows)
    }

    /// Writes an entry of `outsides`.
    ///
    /// # Errors
    /// When the map has no such number.
    pub fn put_outside(&self, number: u32, outside: &Outside) -> Result<(), Error> {
        let mut map: Array<MapData, Outside> = self.open("outsides")?;
        let put = map.set(number, outside, 0);
        put.map_err(|source| Error::map("write", "outsides", source))
    }

    /// `links`.
    ///
    /// # Errors
    /// When the map cannot be read.
    pub fn links(&self) -> Result<BTreeMap<u32, Link>, Error> {
        let map = self.hash::<u32, Link>("links")?;
        map.iter().collect::<Result<_, _>>().map_err(|source| Error::map("read", "links", source))
    }

    /// Writes an entry of `links`, and first that of `exits` which follows from it.
    ///
    /// # Errors
    /// When the map is full.
    pub fn put_link(&self, index: u32, link: &Link) -> Result<(), Error> {
        set_exit(self, index, Some(link))?;
        let put = self.hash::<u32, Link>("links")?.insert(index, link, 0);
        put.map_err(|source| Error::map("write", "links", source))
    }

    /// Removes an entry of `links`, and that of `exits`.
    ///
    /// # Errors
    /// When the map cannot be written.
    pub fn drop_link(&self, index: u32) -> Result<(), Error> {
        set_exit(self, index, None)?;
        absent_is_fine("links", self.hash::<u32, Link>("links")?.remove(&index))
    }

    fn trie(&self, name: &str) -> Result<LpmTrie<MapData, [u8; 4], Source>, Error> {
        self.open(name)
    }

    fn prefixes(&self, name: &str) -> Result<BTreeMap<Ipv4Net, Source>, Error> {
        let map = self.trie(name)?;
        let mut found = BTreeMap::new();
        for entry in map.iter() {
            let (key, source) = entry.map_err(|source| Error::map("read", name, source))?;
            let len = u8::try_from(key.prefix_len()).unwrap_or(32).min(32);
            let net = Ipv4Net::new_assert(Ipv4Addr::from(key.data()), len);
            found.insert(net, source);
        }
        Ok(found)
    }

    fn put_prefix(&self, name: &str, net: Ipv4Net, source: Source) -> Result<(), Error> {
        let put = self.trie(name)?.insert(&key(net), source, 0);
        put.map_err(|source| Error::map("write", name, source))
    }

    /// `sources`.
    ///
    /// # Errors
    /// When the map cannot be read.
    pub fn sources(&self) -> Result<BTreeMap<Ipv4Net, Source>, Error> {
        self.prefixes("sources")
    }

    /// Writes an entry of `sources`.
    ///
    /// # Errors
    /// When the map is full.
    pub fn put_source(&self, net: Ipv4Net, source: Source) -> Result<(), Error> {
        self.put_prefix("sources", net, source)
    }

    /// Removes an entry of `sources`.
    ///
    /// # Errors
    /// When the map cannot be written.
    pub fn drop_source(&self, net: Ipv4Net) -> Result<(), Error> {
        absent_is_fine("sources", self.trie("sources")?.remove(&key(net)))
    }

    /// `exclusions`.
    ///
    /// # Errors
    /// When the map cannot be read.
    pub fn exclusions(&self) -> Result<BTreeSet<Ipv4Net>, Error> {
        Ok(self.prefixes("exclusions")?.into_keys().collect())
    }

    /// Writes an entry of `exclusions`.
    ///
    /// # Errors
    /// When the map is full.
    pub fn put_exclusion(&self, net: Ipv4Net) -> Result<(), Error> {
        self.put_prefix("exclusions", net, Source { action: source::KEEP, number: 0 })
    }

    /// Removes an entry of `exclusions`.
    ///
    /// # Errors
    /// When the map cannot be written.
    pub fn drop_exclusion(&self, net: Ipv4Net) -> Result<(), Error> {
        absent_is_fine("exclusions", self.trie("exclusions")?.remove(&key(net)))
    }

    fn trie6(&self) -> Result<LpmTrie<MapData, Ipv6, Prefix6>, Error> {
        self.open("prefixes6")
    }

    /// `prefixes6`.
    ///
    /// # Errors
    /// When the map cannot be read.
    pub fn prefixes6(&self) -> Result<BTreeMap<Ipv6Net, Prefix6>, Error> {
        let map = self.trie6()?;
        let mut prefixes = BTreeMap::new();
        for entry in map.iter() {
            let (key, to) = entry.map_err(|source| Error::map("read", "prefixes6", source))?;
            let len = u8::try_from(key.prefix_len()).unwrap_or(128).min(128);
            prefixes.insert(Ipv6Net::new_assert(Ipv6Addr::from(key.data()), len), to);
        }
        Ok(prefixes)
    }

    /// Writes an entry of `prefixes6`.
    ///
    /// # Errors
    /// When the map is full.
    pub fn put_prefix6(&self, net: Ipv6Net, to: Prefix6) -> Result<(), Error> {
        let put = self.trie6()?.insert(&key6(net), to, 0);
        put.map_err(|source| Error::map("write", "prefixes6", source))
    }

    /// Removes an entry of `prefixes6`.
    ///
    /// # Errors
    /// When the map cannot be written.
    pub fn drop_prefix6(&self, net: Ipv6Net) -> Result<(), Error> {
        absent_is_fine("prefixes6", self.trie6()?.remove(&key6(net)))
    }

    /// `uplinks6`.
    ///
    /// # Errors
    /// When the map cannot be read.
    pub fn uplinks6(&self) -> Result<BTreeMap<u32, Uplink6>, Error> {
        let map = self.hash::<u32, Uplink6>("uplinks6")?;
        let rows: Result<_, _> = map.iter().collect();
        rows.map_err(|source| Error::map("read", "uplinks6", source))
    }

    /// Writes an entry of `uplinks6`, and what leads to it in `own6`.
    ///
    /// # Errors
    /// When a map is full.
    pub fn put_uplink6(&self, index: u32, uplink: &Uplink6) -> Result<(), Error> {
        self.disown6(index, Some(uplink))?;
        let mut own = self.hash::<Ipv6, Own6>("own6")?;
        for key in uplink.keys() {
            let put = own.insert(key, Own6 { link: index }, 0);
            put.map_err(|source| Error::map("write", "own6", source))?;
        }
        let put = self.hash::<u32, Uplink6>("uplinks6")?.insert(index, uplink, 0);
        put.map_err(|source| Error::map("write", "uplinks6", source))
    }

    /// Removes what leads to this uplink in `own6`, but for what goes on doing so.
    fn disown6(&self, index: u32, next: Option<&Uplink6>) -> Result<(), Error> {
        let kept = next.map(Uplink6::keys).unwrap_or_default();
        let before = self.uplinks6()?.get(&index).map(Uplink6::keys).unwrap_or_default();
        let mut own = self.hash::<Ipv6, Own6>("own6")?;
        for key in before.iter().filter(|key| !kept.contains(key)) {
            if own.get(key, 0).is_ok_and(|own| own.link == index) {
                absent_is_fine("own6", own.remove(key))?;
            }
        }
        Ok(())
    }

    /// Removes an entry of `uplinks6`, and what leads to it.
    ///
    /// # Errors
    /// When a map cannot be written.
    pub fn drop_uplink6(&self, index: u32) -> Result<(), Error> {
        self.disown6(index, None)?;
        absent_is_fine("uplinks6", self.hash::<u32, Uplink6>("uplinks6")?.remove(&index))
    }

    /// `sysctls`.
    ///
    /// # Errors
    /// When the map cannot be read.
    pub fn sysctls(&self) -> Result<BTreeMap<String, Sysctl>, Error> {
        let map = self.hash::<SysctlName, Sysctl>("sysctls")?;
        let named = map.iter().map(|entry| entry.map(|(key, value)| (read_name(&key.name), value)));
        named.collect::<Result<_, _>>().map_err(|source| Error::map("read", "sysctls", source))
    }

    /// Remembers a sysctl.
    ///
    /// # Errors
    /// When the map is full.
    pub fn put_sysctl(&self, name: &str, sysctl: &Sysctl) -> Result<(), Error> {
        let key = SysctlName { name: write_name(name) };
        let put = self.hash::<SysctlName, Sysctl>("sysctls")?.insert(key, sysctl, 0);
        put.map_err(|source| Error::map("write", "sysctls", source))
    }

    /// Forgets a sysctl.
    ///
    /// # Errors
    /// When the map cannot be written.
    pub fn drop_sysctl(&self, name: &str) -> Result<(), Error> {
        let key = SysctlName { name: write_name(name) };
        absent_is_fine("sysctls", self.hash::<SysctlName, Sysctl>("sysctls")?.remove(&key))
    }
}

fn key(net: Ipv4Net) -> Key<[u8; 4]> {
    Key::new(u32::from(net.prefix_len()), net.network().octets())
}

fn key6(net: Ipv6Net) -> Key<Ipv6> {
    Key::new(u32::from(net.prefix_len()), net.network().octets())
}

/// Removing what is not there is no error: a removal that was cut short is repeated.
pub(super) fn absent_is_fine(map: &str, removed: Result<(), MapError>) -> Result<(), Error> {
    let removed = removed.or_else(|error| if is_absent(&error) { Ok(()) } else { Err(error) });
    removed.map_err(|source| Error::map("write", map, source))
}
