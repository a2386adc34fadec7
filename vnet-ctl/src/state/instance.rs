//! An instance: what its maps and pins say, or are to say.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use ipnet::{Ipv4Net, Ipv6Net};
use vnet_common::nat66::Uplink6;
use vnet_common::policy::{Config, Link, Outside, Source, Sysctl, link_flag, role};
use vnet_common::prefix6::Prefix6;

use super::forward::Forwarding;
use crate::spec::{self, Hook, Ports};

/// What runs on a hook that is ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Running {
    /// The pinned program.
    Current,
    /// One that was pinned before.
    Old,
    /// Nothing: the device went away and took the hook with it.
    Gone,
}

/// An instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instance {
    /// Its name.
    pub name: spec::Instance,
    /// `config`.
    pub config: Config,
    /// `links`.
    pub links: BTreeMap<u32, Link>,
    /// `outsides`: the numbers that are in use.
    pub outsides: BTreeMap<u32, Outside>,
    /// `sources`.
    pub sources: BTreeMap<Ipv4Net, Source>,
    /// `exclusions`.
    pub exclusions: BTreeSet<Ipv4Net>,
    /// `prefixes6`.
    pub prefixes6: BTreeMap<Ipv6Net, Prefix6>,
    /// `uplinks6`.
    pub uplinks6: BTreeMap<u32, Uplink6>,
    /// `sysctls`.
    pub sysctls: BTreeMap<String, Sysctl>,
    /// Forwards.
    pub forwarding: Forwarding,
    /// Index of the device that leads to its sorter, if all of that is there.
    pub sorter: Option<u32>,
    /// Whether all programs are pinned.
    pub programs: bool,
    /// Hooks that are ours.
    pub hooks: BTreeMap<(u32, Hook), Running>,
    /// What sits on the calls of this host's own sockets.
    pub calls: Option<Running>,
    /// Kernel ids of the programs on those hooks.
    pub ids: BTreeSet<u32>,
    /// Whose layout its maps have.
    pub layout: Layout,
}

/// Whose layout the maps of an instance have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Layout {
    /// That of this binary.
    #[default]
    Own,
    /// An older one, of which this binary can take over what is there.
    Older,
    /// That of this binary, and its programs may still use maps of an older one.
    Mixed,
}

impl Instance {
    /// An instance of which nothing is known but the name.
    #[must_use]
    pub fn empty(name: spec::Instance) -> Self {
        Self {
            name,
            config: Config { version: 0, ..Config::DEFAULT },
            links: BTreeMap::new(),
            outsides: BTreeMap::new(),
            sources: BTreeMap::new(),
            exclusions: BTreeSet::new(),
            prefixes6: BTreeMap::new(),
            uplinks6: BTreeMap::new(),
            sysctls: BTreeMap::new(),
            forwarding: Forwarding::default(),
            sorter: None,
            programs: false,
            hooks: BTreeMap::new(),
            calls: None,
            ids: BTreeSet::new(),
            layout: Layout::Own,
        }
    }

    /// Its uplinks.
    pub fn uplinks(&self) -> impl Iterator<Item = (u32, &Link)> {
        let found = self.links.iter().filter(|(_, link)| link.roles & role::UPLINK != 0);
        found.map(|(index, link)| (*index, link))
    }

    /// Its outside addresses, in the order of their numbers; where one is gone, nothing.
    pub fn addresses(&self) -> impl Iterator<Item = Ipv4Addr> {
        let all = self.outsides.values().map(|outside| Ipv4Addr::from(outside.addr));
        all.filter(|address| !address.is_unspecified())
    }

    /// The outside addresses of one uplink, with their numbers.
    pub fn addresses_of(&self, index: u32) -> impl Iterator<Item = (u32, Ipv4Addr)> {
        let own = self.outsides.iter().filter(move |(_, outside)| outside.link == index);
        own.map(|(number, outside)| (*number, Ipv4Addr::from(outside.addr)))
    }

    /// What is known of an address: the longest prefix that has it.
    #[must_use]
    pub fn source(&self, address: Ipv4Addr) -> Option<&Source> {
        let with = self.sources.iter().filter(|(net, _)| net.contains(&address));
        with.max_by_key(|(net, _)| net.prefix_len()).map(|(_, source)| source)
    }

    /// Whether whoever is behind this device is inside.
    #[must_use]
    pub fn is_inside(&self, index: u32) -> bool {
        self.links.get(&index).is_some_and(|link| link.roles & role::INSIDE != 0)
    }

    /// The ports it hands out.
    #[must_use]
    pub const fn ports(&self) -> Ports {
        Ports { min: self.config.port_min, max: self.config.port_max }
    }

    /// The low ports it hands out, if any.
    #[must_use]
    pub fn low_ports(&self) -> Option<Ports> {
        let Config { low_min: min, low_max: max, .. } = self.config;
        (min != 0).then_some(Ports { min, max })
    }

    /// All ports it hands out.
    pub fn all_ports(&self) -> impl Iterator<Item = Ports> {
        std::iter::once(self.ports()).chain(self.low_ports())
    }

    /// Whether a program of it runs on that device, or on any when none is named. Without one it
    /// keeps nobody from anything: it may be what is left of a namespace whose number was reused.
    #[must_use]
    pub fn runs(&self, on: Option<u32>) -> bool {
        let mut hooks = self.hooks.iter().filter(|((index, hook), _)| {
            // What an XDP link says outlives its device.
            Hook::TC.contains(hook) && on.is_none_or(|on| on == *index)
        });
        hooks.any(|(_, running)| *running != Running::Gone)
    }

    /// Whether that device is its own: an uplink, or one that was named. Those found by themselves
    /// it shares with other instances.
    #[must_use]
    pub fn claims(&self, index: u32) -> bool {
        let own = role::UPLINK | role::INSIDE;
        self.links.get(&index).is_some_and(|link| link.roles & own != 0)
    }

    /// Whether the hooks of a link are `clsact` filters.
    #[must_use]
    pub fn by_clsact(&self, index: u32) -> bool {
        self.links.get(&index).is_some_and(|link| link.flags & link_flag::CLSACT != 0)
    }
}

/// What a directory of pins turned out to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// A complete instance.
    Whole(Box<Instance>),
    /// One whose making or removal was cut short, as far as it can be read.
    HalfMade(Box<Instance>),
    /// One of another version, as far as it can be read, and what it says it is.
    Other(Box<Instance>, String),
}

impl Found {
    /// What could be read of it.
    #[must_use]
    pub fn instance(&self) -> &Instance {
        match self {
            Self::Whole(instance) | Self::HalfMade(instance) | Self::Other(instance, _) => instance,
        }
    }
}

/// Name in a record's NUL-padded bytes.
#[must_use]
pub fn read_name(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).into_owned()
}

/// A name as NUL-padded bytes; what does not fit is cut.
#[must_use]
pub fn write_name<const N: usize>(name: &str) -> [u8; N] {
    let mut bytes = [0; N];
    for (to, from) in bytes.iter_mut().zip(name.bytes()) {
        *to = from;
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_survive_their_record() {
        assert_eq!(read_name(&write_name::<16>("eth0")), "eth0");
        assert_eq!(read_name(&write_name::<4>("abcdef")), "abcd");
    }
}
