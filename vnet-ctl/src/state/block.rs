//! Port blocks: how inside hosts are numbered, whether all of them have one, and who has which.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use vnet_common::block::Blocks;
use vnet_common::policy::{Config, Link, role, source};

use super::host::Host;
use super::inside::nets;
use super::instance::{Instance, read_name};
use crate::fault::Fault;
use crate::spec::{Attach, Ports};

/// What is added to an address of each prefix to get the number of its host: hosts are numbered
/// through the prefixes in their order. One within another has the numbers it has there.
pub(super) fn numbers(nets: &[Ipv4Net]) -> BTreeMap<Ipv4Net, u32> {
    let mut numbers = BTreeMap::new();
    let mut next = 0u32;
    for net in Ipv4Net::aggregate(&nets.to_vec()) {
        let number = next.wrapping_sub(u32::from(net.network()));
        next = next.wrapping_add(u32::try_from(hosts(net)).unwrap_or(0));
        let within = nets.iter().filter(|inner| net.contains(*inner));
        numbers.extend(within.map(|inner| (*inner, number)));
    }
    numbers
}

/// How many addresses a prefix has.
fn hosts(net: Ipv4Net) -> u64 {
    1 << (32 - net.prefix_len())
}

/// The uplinks whose addresses have fewer blocks than there are inside hosts.
pub(super) fn too_few_blocks(
    wish: &Attach,
    host: &Host,
    config: &Config,
    links: &BTreeMap<u32, Link>,
) -> Vec<Fault> {
    if wish.port_block == 0 {
        return Vec::new();
    }
    let hosts = Ipv4Net::aggregate(&nets(wish)).into_iter().map(hosts).sum();
    let per_address = Blocks::of(config).map_or(0, |blocks| blocks.per_address());
    let uplinks = links.iter().filter(|(_, link)| link.roles & role::UPLINK != 0);
    let faults = uplinks.filter_map(|(index, link)| {
        let fit = u64::from(per_address) * u64::from(link.outsides);
        (fit < hosts).then(|| Fault::Blocks {
            size: wish.port_block,
            hosts,
            ports: wish.ports.to_string(),
            addresses: link.outsides,
            device: host.name_of(*index, &read_name(&link.name)),
            fit,
        })
    });
    faults.collect()
}

/// A host and its block on one uplink.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Name of the uplink.
    pub ifname: String,
    /// The host.
    pub host: Ipv4Addr,
    /// The outside address.
    pub outside: Ipv4Addr,
    /// Its ports there.
    pub ports: Ports,
}

/// The blocks of an instance, computed from what it was told and from nothing else.
#[derive(Clone, Copy, Debug)]
pub struct Places<'a> {
    instance: &'a Instance,
    blocks: Blocks,
}

impl<'a> Places<'a> {
    /// Those of the instance, if it has any.
    ///
    /// # Errors
    /// When it has not.
    pub fn of(instance: &'a Instance) -> Result<Self, Fault> {
        let blocks = Blocks::of(&instance.config);
        let blocks = blocks.ok_or_else(|| Fault::NoBlocks(instance.name.to_string()))?;
        Ok(Self { instance, blocks })
    }

    /// Inside prefixes, none of them within another, and what is added to their addresses.
    fn nets(&self) -> impl Iterator<Item = (Ipv4Net, u32)> {
        let inside = self.instance.sources.iter();
        let inside = inside.filter(|(_, source)| source.action == source::TRANSLATE);
        let inside: Vec<_> = inside.map(|(net, source)| (*net, source.number)).collect();
        inside.clone().into_iter().filter(move |(net, _)| {
            !inside.iter().any(|(other, _)| other != net && other.contains(net))
        })
    }

    /// Every host with its blocks.
    pub fn all(&self) -> impl Iterator<Item = Place> {
        self.nets().flat_map(move |(net, number)| {
            let addresses = u32::from(net.network())..=u32::from(net.broadcast());
            addresses.flat_map(move |addr| self.places(addr.into(), number).collect::<Vec<_>>())
        })
    }

    /// The blocks of one host: one on each uplink.
    ///
    /// # Errors
    /// When it is not inside.
    pub fn of_host(&self, host: Ipv4Addr) -> Result<Vec<Place>, Fault> {
        let found = self.nets().find(|(net, _)| net.contains(&host));
        let (_, number) =
            found.ok_or_else(|| Fault::NoBlock(format!("{host} is in no inside prefix")))?;
        Ok(self.places(host, number).collect())
    }

    fn places(&self, host: Ipv4Addr, number: u32) -> impl Iterator<Item = Place> {
        let block = self.blocks.block(u32::from(host).wrapping_add(number));
        self.instance.uplinks().filter_map(move |(_, link)| {
            let outside = self.instance.outsides.get(&(link.outside + block.address))?;
            Some(Place {
                ifname: read_name(&link.name),
                host,
                outside: outside.addr.into(),
                ports: Ports { min: block.min, max: block.max },
            })
        })
    }

    /// Who has an outside port.
    ///
    /// # Errors
    /// When nobody has.
    pub fn of_outside(&self, address: Ipv4Addr, port: u16) -> Result<Place, Fault> {
        let none = |why: &str| Fault::NoBlock(format!("{address}:{port} {why}"));
        let outsides = self.instance.outsides.iter();
        let mut found = outsides.filter(|(_, outside)| Ipv4Addr::from(outside.addr) == address);
        let (number, outside) =
            found.next().ok_or_else(|| none("is on none of the outside addresses"))?;
        let link = self.instance.links.get(&outside.link);
        let first = link.map_or(*number, |link| link.outside);
        let host = self.blocks.host(number.saturating_sub(first), port);
        let host = host.ok_or_else(|| none("is in no block"))?;
        let hosts = self.nets().filter_map(|(net, number)| {
            let addr = Ipv4Addr::from(host.wrapping_sub(number));
            net.contains(&addr).then_some(addr)
        });
        let host = hosts.into_iter().next().ok_or_else(|| none("is in a block that nobody has"))?;
        let mut places = self.of_host(host)?.into_iter();
        let place = places.find(|place| place.outside == address);
        place.ok_or_else(|| none("is in a block that nobody has"))
    }
}
