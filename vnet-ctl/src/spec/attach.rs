//! The wish behind `vnetctl attach`: all of its words are looked at, and every fault is told.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use vnet_common::policy::{Config, config_flag};
use vnet_common::translate::pool;

use super::name::{Instance, device_name};
use super::prefix6::PrefixPair;
use super::word::{self, Filtering, Level, Ports};
use crate::fault::Fault;

/// Longest timeout that is taken, seconds (30 days).
const TIMEOUT_MAX: u32 = 2_592_000;
/// Longest rest of a port that is taken, seconds (a day).
const REST_MAX: u32 = 86_400;
/// Least size of the flow table that makes sense.
const FLOWS_MIN: u32 = 16;
/// Greatest size whose two entries per connection the kernel can still count.
const FLOWS_MAX: u32 = i32::MAX as u32 - 1024;

/// The words as typed; `None` where nothing was.
#[derive(Clone, Debug, Default)]
pub struct Words {
    /// `--nat`, each.
    pub nat: Vec<String>,
    /// `--inside`, each.
    pub inside: Vec<String>,
    /// `--ports`
    pub ports: Option<String>,
    /// `--low-ports`
    pub low_ports: Option<String>,
    /// `--port-block`
    pub port_block: Option<String>,
    /// `--address`, each.
    pub address: Vec<String>,
    /// `--exclude`, each.
    pub exclude: Vec<String>,
    /// `--filtering`
    pub filtering: Option<String>,
    /// `--max-ports-per-host`
    pub host_ports: Option<String>,
    /// `--max-flows-per-host`
    pub host_flows: Option<String>,
    /// `--instance`
    pub instance: String,
    /// `--max-flows`
    pub max_flows: Option<String>,
    /// `--timeout-udp`
    pub udp: Option<String>,
    /// `--timeout-icmp`
    pub icmp: Option<String>,
    /// `--timeout-tcp-established`
    pub tcp_established: Option<String>,
    /// `--timeout-tcp-transitory`
    pub tcp_transitory: Option<String>,
    /// `--port-rest`
    pub port_rest: Option<String>,
    /// `--no-answer`
    pub no_answer: bool,
    /// `--nptv6`, each.
    pub nptv6: Vec<String>,
    /// `--events`
    pub events: bool,
    /// `--fragments`
    pub fragments: Option<String>,
    /// `--log-level`
    pub log_level: Option<String>,
}

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
    /// Whether fragments are put in order that come before their first.
    pub sort: bool,
    /// Level of the datapath's log.
    pub log_level: Level,
}

/// Faults met so far; a part that failed is left empty, because the whole is then thrown away.
#[derive(Default)]
struct Reader {
    faults: Vec<Fault>,
}

impl Reader {
    fn keep<T>(&mut self, read: Result<T, Fault>) -> Option<T> {
        read.map_err(|fault| self.faults.push(fault)).ok()
    }

    fn optional<T>(
        &mut self,
        typed: Option<&String>,
        read: impl Fn(&str) -> Result<T, Fault>,
    ) -> Option<T> {
        typed.and_then(|typed| self.keep(read(typed)))
    }

    /// All that are right, each once.
    fn each<T: PartialEq>(
        &mut self,
        typed: &[String],
        read: impl Fn(&str) -> Result<T, Fault>,
    ) -> Vec<T> {
        let mut all = Vec::new();
        for read in typed.iter().filter_map(|typed| self.keep(read(typed))) {
            if !all.contains(&read) {
                all.push(read);
            }
        }
        all
    }

    fn timeout(&mut self, option: &'static str, typed: Option<&String>, default: u32) -> u32 {
        let read = |typed: &str| word::number(option, typed, 1, TIMEOUT_MAX);
        self.optional(typed, read).unwrap_or(default)
    }

    fn limit(&mut self, option: &'static str, typed: Option<&String>) -> u32 {
        let read = |typed: &str| word::number(option, typed, 1, FLOWS_MAX);
        self.optional(typed, read).unwrap_or(0)
    }

    /// Blocks are computed from addresses, so all insides must be prefixes; and what is handed out
    /// besides could not be computed.
    fn blocks(&mut self, words: &Words) -> u32 {
        let Some(typed) = &words.port_block else { return 0 };
        let size = self.keep(word::number("--port-block", typed, 1, 65535));
        let nets =
            words.inside.iter().all(|typed| matches!(inside(typed, &[]), Ok(Inside::Net(_))));
        if words.inside.is_empty() || !nets {
            self.faults.push(Fault::BlocksOfWhom);
        }
        if words.low_ports.as_ref().is_some_and(|low| low != "none") {
            self.faults.push(Fault::BlocksAndLowPorts);
        }
        size.unwrap_or(0)
    }

    fn inside(&mut self, words: &Words) -> BTreeSet<Inside> {
        let read = words.inside.iter().map(|typed| inside(typed, &words.nat));
        read.filter_map(|read| self.keep(read)).collect()
    }

    /// Pairs that have addresses in common would hide each other.
    fn nptv6(&mut self, words: &Words) -> BTreeSet<PrefixPair> {
        let mut pairs = BTreeSet::new();
        for typed in &words.nptv6 {
            let Some(pair) = self.keep(PrefixPair::parse(typed)) else { continue };
            if pairs.iter().any(|other| pair != *other && pair.clashes(other)) {
                let hint = "it has addresses in common with another --nptv6";
                let given = typed.clone();
                self.faults.push(Fault::Word { option: "--nptv6", given, hint });
            }
            pairs.insert(pair);
        }
        pairs
    }
}

impl Attach {
    /// Gives the words their meaning.
    ///
    /// # Errors
    /// Every fault the words have.
    pub fn parse(words: &Words) -> Result<Self, Vec<Fault>> {
        let mut read = Reader::default();
        let default = Config::DEFAULT;
        let instance = read.keep(Instance::parse(&words.instance));
        let uplinks = read.each(&words.nat, device_name);
        let inside = read.inside(words);
        let ports = read.optional(words.ports.as_ref(), Ports::parse);
        let low = read.optional(words.low_ports.as_ref(), word::low_ports);
        let port_block = read.blocks(words);
        let exclude = read.each(&words.exclude, |typed| word::prefix("--exclude", typed));
        let filtering = read.optional(words.filtering.as_ref(), Filtering::parse);
        let host_mappings = read.limit("--max-ports-per-host", words.host_ports.as_ref());
        let host_flows = read.limit("--max-flows-per-host", words.host_flows.as_ref());
        let addresses = read.each(&words.address, word::address);
        if addresses.len() > pool::ADDRESSES as usize {
            read.faults.push(Fault::TooManyAddresses { most: pool::ADDRESSES });
        }
        let max_flows = read.optional(words.max_flows.as_ref(), |typed| {
            word::number("--max-flows", typed, FLOWS_MIN, FLOWS_MAX)
        });
        let udp = read.timeout("--timeout-udp", words.udp.as_ref(), default.udp);
        let icmp = read.timeout("--timeout-icmp", words.icmp.as_ref(), default.icmp);
        let tcp_established = read.timeout(
            "--timeout-tcp-established",
            words.tcp_established.as_ref(),
            default.tcp_established,
        );
        let tcp_transitory = read.timeout(
            "--timeout-tcp-transitory",
            words.tcp_transitory.as_ref(),
            default.tcp_transitory,
        );
        let port_rest = read.optional(words.port_rest.as_ref(), |typed| {
            word::number("--port-rest", typed, 0, REST_MAX)
        });
        let nptv6 = read.nptv6(words);
        let sort = read.optional(words.fragments.as_ref(), word::sort);
        let log_level = read.optional(words.log_level.as_ref(), Level::parse);
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
            flags: flags(words),
            nptv6,
            sort: sort.unwrap_or(true),
            log_level: log_level.unwrap_or_default(),
        })
    }
}

/// The default's flags, but for those that words switch.
fn flags(words: &Words) -> u32 {
    let off = if words.no_answer { config_flag::ANSWER } else { 0 };
    let on = if words.events { config_flag::EVENTS } else { 0 };
    Config::DEFAULT.flags & !off | on
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
