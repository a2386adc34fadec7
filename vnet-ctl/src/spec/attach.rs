//! The wish behind `vnetctl attach`: all of its words are looked at, and every fault is told.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use vnet_common::policy::{Config, config_flag};
use vnet_common::translate::pool;

use super::name::{Instance, device_name};
use super::nat66::{self, Nat66};
use super::prefix6::PrefixPair;
use super::read::{Blamed, FLOWS_MAX, Reader};
use super::word::{self, Filtering, Level, Ports};
use super::words::Words;
use super::xdp::Xdp;
use crate::fault::Fault;

/// Longest rest of a port that is taken, seconds (a day).
const REST_MAX: u32 = 86_400;
/// Least size of the flow table that makes sense.
const FLOWS_MIN: u32 = 16;

/// Who is inside.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Inside {
    /// Sources in this prefix.
    Net(Ipv4Net),
    /// Whoever is behind this device.
    Device(String),
}

/// A wish that makes sense by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attach {
    /// The instance.
    pub instance: Instance,
    /// Names of the uplinks; at least one.
    pub uplinks: Vec<String>,
    /// Who is inside; empty = everybody.
    pub inside: BTreeSet<Inside>,
    /// Ports that may be handed out.
    pub ports: Ports,
    /// Ports below 1024 that may be handed out to who comes from one.
    pub low: Option<Ports>,
    /// Ports each inside host has for itself; 0 = no blocks.
    pub port_block: u32,
    /// Destinations that are not translated.
    pub exclude: BTreeSet<Ipv4Net>,
    /// Who may send to a mapping.
    pub filtering: Filtering,
    /// Mappings each inside host may have; 0 = no limit.
    pub host_mappings: u32,
    /// Connections each inside host may have; 0 = no limit.
    pub host_flows: u32,
    /// The outside addresses that were named; none for the usual one of every uplink.
    pub addresses: Vec<Ipv4Addr>,
    /// Connections to make room for, when a number was named.
    pub max_flows: Option<u32>,
    /// Idle time of UDP mappings, seconds.
    pub udp: u32,
    /// Idle time of ICMP queries, seconds.
    pub icmp: u32,
    /// Idle time of established TCP connections, seconds.
    pub tcp_established: u32,
    /// Idle time of half-open and closing TCP connections, seconds.
    pub tcp_transitory: u32,
    /// Rest of a port before another host may get it, seconds.
    pub port_rest: u32,
    /// Bits of [`config_flag`].
    pub flags: u32,
    /// IPv6 prefixes that are translated.
    pub nptv6: BTreeSet<PrefixPair>,
    /// Whether IPv6 is masqueraded, and by which addresses.
    pub nat66: Nat66,
    /// Whether fragments are put in order that come before their first.
    pub sort: bool,
    /// Names of the devices whose packets always take the kernel's way.
    pub no_shortcut: BTreeSet<String>,
    /// Whether and how devices have an XDP program.
    pub xdp: Xdp,
    /// Level of the datapath's log.
    pub log_level: Level,
}

impl Reader {
    /// Blocks are computed from addresses, so all insides must be prefixes; and what is handed out
    /// besides could not be computed.
    fn blocks(&mut self, words: &Words) -> u32 {
        const BLOCK: &str = "--port-block";
        if words.port_block.is_none() {
            return 0;
        }
        let size = self.number(BLOCK, words.port_block.as_ref(), (1, 65535));
        let nets =
            words.inside.iter().all(|typed| matches!(inside(typed, &[]), Ok(Inside::Net(_))));
        if words.inside.is_empty() || !nets {
            self.blame(BLOCK, Fault::BlocksOfWhom);
        }
        if words.low_ports.as_ref().is_some_and(|low| low != "none") {
            self.blame(BLOCK, Fault::BlocksAndLowPorts);
        }
        size.unwrap_or(0)
    }

    fn inside(&mut self, words: &Words) -> BTreeSet<Inside> {
        let read = words.inside.iter().map(|typed| inside(typed, &words.nat));
        read.filter_map(|read| self.keep("--inside", read)).collect()
    }

    /// Pairs that have addresses in common would hide each other.
    fn nptv6(&mut self, words: &Words) -> BTreeSet<PrefixPair> {
        const NPTV6: &str = "--nptv6";
        let mut pairs = BTreeSet::new();
        for typed in &words.nptv6 {
            let Some(pair) = self.keep(NPTV6, PrefixPair::parse(typed)) else { continue };
            if pairs.iter().any(|other| pair != *other && pair.clashes(other)) {
                let hint = "it has addresses in common with another --nptv6";
                let given = typed.clone();
                self.blame(NPTV6, Fault::Word { option: NPTV6, given, hint });
            }
            pairs.insert(pair);
        }
        pairs
    }
}

impl Reader {
    fn nat66(&mut self, words: &Words) -> Nat66 {
        const ADDRESS6: &str = "--address6";
        let addresses = self.each(ADDRESS6, &words.address6, nat66::address);
        if !words.nat66 && !words.address6.is_empty() {
            self.blame(ADDRESS6, Fault::Address6Alone);
        }
        if addresses.len() > words.nat.len() {
            self.blame(ADDRESS6, Fault::ManyAddresses6);
        }
        Nat66 { on: words.nat66, addresses }
    }
}

impl Attach {
    /// Gives the words their meaning.
    ///
    /// # Errors
    /// Every fault the words have.
    pub fn parse(words: &Words) -> Result<Self, Vec<Fault>> {
        Self::read(words).map_err(|blamed| blamed.into_iter().map(|(_, fault)| fault).collect())
    }

    /// The same; each fault says which option has it.
    pub(super) fn read(words: &Words) -> Result<Self, Vec<Blamed>> {
        let mut read = Reader::default();
        let default = Config::DEFAULT;
        let instance = read.keep("--instance", Instance::parse(&words.instance));
        let uplinks = read.each("--nat", &words.nat, device_name);
        let inside = read.inside(words);
        let ports = read.optional("--ports", words.ports.as_ref(), Ports::parse);
        let low = read.optional("--low-ports", words.low_ports.as_ref(), word::low_ports);
        let port_block = read.blocks(words);
        let exclude =
            read.each("--exclude", &words.exclude, |typed| word::prefix("--exclude", typed));
        let filtering = read.optional("--filtering", words.filtering.as_ref(), Filtering::parse);
        let host_mappings = read.limit("--max-ports-per-host", words.max_ports_per_host.as_ref());
        let host_flows = read.limit("--max-flows-per-host", words.max_flows_per_host.as_ref());
        let addresses = read.each("--address", &words.address, word::address);
        if addresses.len() > pool::ADDRESSES as usize {
            read.blame("--address", Fault::TooManyAddresses { most: pool::ADDRESSES });
        }
        let room = (FLOWS_MIN, FLOWS_MAX);
        let max_flows = read.number("--max-flows", words.max_flows.as_ref(), room);
        let udp = read.timeout("--timeout-udp", words.timeout_udp.as_ref(), default.udp);
        let refresh = read.optional("--refresh", words.refresh.as_ref(), word::refresh);
        let icmp = read.timeout("--timeout-icmp", words.timeout_icmp.as_ref(), default.icmp);
        let tcp_established = read.timeout(
            "--timeout-tcp-established",
            words.timeout_tcp_established.as_ref(),
            default.tcp_established,
        );
        let tcp_transitory = read.timeout(
            "--timeout-tcp-transitory",
            words.timeout_tcp_transitory.as_ref(),
            default.tcp_transitory,
        );
        let port_rest = read.number("--port-rest", words.port_rest.as_ref(), (0, REST_MAX));
        let nptv6 = read.nptv6(words);
        let nat66 = read.nat66(words);
        let sort = read.optional("--fragments", words.fragments.as_ref(), word::sort);
        let no_shortcut = read.each("--no-shortcut", &words.no_shortcut, device_name);
        let xdp = read.optional("--xdp", words.xdp.as_ref(), Xdp::parse);
        let log_level = read.optional("--log-level", words.log_level.as_ref(), Level::parse);
        let (Some(instance), true) = (instance, read.faults.is_empty()) else {
            return Err(read.faults);
        };
        Ok(Self {
            instance,
            uplinks,
            inside,
            ports: ports.unwrap_or(Ports::DEFAULT),
            low: low.unwrap_or(if ports.is_none() && port_block == 0 { Ports::LOW } else { None }),
            port_block,
            exclude: exclude.into_iter().collect(),
            filtering: filtering.unwrap_or_default(),
            host_mappings,
            host_flows,
            addresses,
            max_flows,
            udp,
            icmp,
            tcp_established,
            tcp_transitory,
            port_rest: port_rest.unwrap_or(default.port_rest),
            flags: flags(words) | refresh.unwrap_or(default.flags & config_flag::INBOUND_REFRESH),
            nptv6,
            nat66,
            sort: sort.unwrap_or(true),
            no_shortcut: no_shortcut.into_iter().collect(),
            xdp: xdp.unwrap_or_default(),
            log_level: log_level.unwrap_or_default(),
        })
    }
}

/// The default's flags, but for those that words switch; without how mappings are refreshed.
fn flags(words: &Words) -> u32 {
    let off = if words.no_answer { config_flag::ANSWER } else { 0 };
    let on = if words.events { config_flag::EVENTS } else { 0 };
    Config::DEFAULT.flags & !(off | config_flag::INBOUND_REFRESH) | on
}

/// A prefix when it looks like one, else the name of a device.
fn inside(typed: &str, uplinks: &[String]) -> Result<Inside, Fault> {
    let like_prefix = typed.contains('/') || typed.parse::<std::net::IpAddr>().is_ok();
    if like_prefix {
        return word::prefix("--inside", typed).map(Inside::Net);
    }
    let name = device_name(typed).map_err(|_| Fault::Inside(typed.to_owned()))?;
    if uplinks.contains(&name) {
        Err(Fault::InsideIsUplink(name))
    } else {
        Ok(Inside::Device(name))
    }
}

#[cfg(test)]
mod tests;
