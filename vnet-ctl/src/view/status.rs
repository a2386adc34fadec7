//! Instances, a row each: what was asked for, what is there, and what is wrong.

use std::net::{Ipv4Addr, Ipv6Addr};

use serde::Serialize;
use vnet_common::nat66::Uplink6;
use vnet_common::policy::{Config, Outside, config_flag, link_flag, role, source, xdp};

use super::problem::problems;
use super::said::said;
use crate::bpf::{Pins, Tables};
use crate::fault::Fault;
use crate::reconcile::Error;
use crate::spec::{self, Filtering, Hook, Level, Ports, Words, Xdp};
use crate::state::{self, Found, Host, Instance, Life, Running, read_name};

/// How an instance is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Health {
    /// Everything is as it should be.
    Ok,
    /// It works in part, or not at all: see `problems`.
    Broken,
    /// It lives in another network namespace, where its devices cannot be looked at from here.
    Elsewhere,
    /// It was made in another network namespace, and cannot be seen from here to live or not.
    Unseen,
}

/// A hook of a managed device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct HookRow {
    /// Name of the device now, or when it was attached.
    pub ifname: String,
    /// Its interface index.
    pub ifindex: u32,
    /// `uplink`, `inside` (named by `--inside`), or `hooked` (inside hosts come in by it).
    pub role: &'static str,
    /// `tcx` or `clsact`.
    pub via: &'static str,
    /// Whether its packets may take the shortcut past the kernel's routing.
    pub shortcut: bool,
    /// How its XDP program runs: `native`, `generic`, or `off` when it has none.
    pub xdp: &'static str,
    /// Hooks that run our program.
    pub hooks: Vec<Hook>,
}

/// An outside address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct OutsideRow {
    /// The address.
    pub address: Ipv4Addr,
    /// Name of the uplink it is on.
    pub ifname: String,
    /// Interface index of that uplink.
    pub ifindex: u32,
    /// Its number in the tables.
    pub number: u32,
}

/// An uplink where IPv6 is masqueraded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Outside6Row {
    /// The outside address.
    pub address: Ipv6Addr,
    /// Name of the uplink it is on.
    pub ifname: String,
    /// Interface index of that uplink.
    pub ifindex: u32,
    /// Its number in the tables.
    pub number: u32,
}

/// Who is inside.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct InsideRow {
    /// Sources.
    pub prefix: String,
    /// `translate` or `keep`.
    pub action: &'static str,
}

/// What an instance was told, and how full it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Settings {
    /// First and last port handed out.
    pub ports: Ports,
    /// First and last low port handed out, if any.
    pub low_ports: Option<Ports>,
    /// Ports each inside host has for itself, where it has.
    pub port_block: Option<u32>,
    /// Destinations that are not translated.
    pub exclude: Vec<String>,
    /// Who may send to a mapping.
    pub filtering: Filtering,
    /// Mappings an inside host may have, where there is a limit.
    pub max_ports_per_host: Option<u32>,
    /// Connections an inside host may have, where there is a limit.
    pub max_flows_per_host: Option<u32>,
    /// Idle time of UDP mappings, seconds.
    pub timeout_udp_s: u32,
    /// Whose packets keep a UDP mapping alive: `both`, or `outbound`.
    pub refresh: &'static str,
    /// Idle time of ICMP queries, seconds.
    pub timeout_icmp_s: u32,
    /// Idle time of established TCP connections, seconds.
    pub timeout_tcp_established_s: u32,
    /// Idle time of other TCP connections, seconds.
    pub timeout_tcp_transitory_s: u32,
    /// Rest of a port before another host may get it, seconds.
    pub port_rest_s: u32,
    /// Connections the maps were made for.
    pub max_flows: u32,
    /// Connections now.
    pub flows: usize,
    /// Mappings now.
    pub mappings: usize,
    /// Kernel memory that the maps take, bytes (before Linux 6.4: the most they can take).
    pub memory_bytes: u64,
    /// Whether inside hosts are told by ICMP that they were refused.
    pub answer: bool,
    /// Whether mappings that begin and end are told of.
    pub events: bool,
    /// `sort` where fragments are put in order that come before their first, else `ordered`.
    pub fragments: &'static str,
    /// Whether devices were to have an XDP program, and how.
    pub xdp: Xdp,
    /// Level of the datapath's log.
    pub log_level: Level,
    /// All it was told, with the keys of a file.
    pub spec: Words,
}

/// An instance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct InstanceRow {
    /// Its name.
    pub instance: String,
    /// How it is.
    pub health: Health,
    /// What is wrong, a sentence each.
    pub problems: Vec<String>,
    /// Name of the first uplink.
    pub ifname: Option<String>,
    /// Interface index of the first uplink.
    pub ifindex: Option<u32>,
    /// First outside address of that uplink.
    pub outside: Option<Ipv4Addr>,
    /// All outside addresses.
    pub outsides: Vec<OutsideRow>,
    /// All outside addresses of IPv6.
    pub outsides6: Vec<Outside6Row>,
    /// Devices.
    pub devices: Vec<HookRow>,
    /// Sources.
    pub inside: Vec<InsideRow>,
    /// What it was told, and how full it is; nothing while it is half made.
    #[serde(flatten)]
    pub settings: Option<Settings>,
    /// Whether this host's own sockets are led by forwards; nothing while there is no forward.
    pub leads_own_sockets: Option<bool>,
    /// Number of the configuration.
    pub epoch: u32,
    /// Where the maps are pinned.
    pub pins: String,
}

/// Every instance, or the named one.
///
/// # Errors
/// When it is not there, or cannot be read.
pub async fn status(only: Option<&spec::Instance>) -> Result<Vec<InstanceRow>, Error> {
    let seen = super::look().await?;
    let meant = seen.instances.iter().filter(|(name, _)| only.is_none_or(|only| *name == only));
    let rows: Vec<_> = meant.map(|(_, found)| row(found, &seen.host)).collect();
    match only {
        Some(name) if rows.is_empty() => Err(Fault::NoInstance(name.to_string()).into()),
        Some(_) | None => Ok(rows),
    }
}

fn row(found: &Found, host: &Host) -> InstanceRow {
    let instance = found.instance();
    let pins = Pins::of(&instance.name);
    let problems = problems(found, host);
    let health = match (problems.is_empty(), instance.life(host)) {
        (false, _) => Health::Broken,
        (true, Life::Elsewhere) => Health::Elsewhere,
        (true, Life::Unseen) => Health::Unseen,
        (true, Life::Here | Life::Dead) => Health::Ok,
    };
    let outsides = outsides(instance, host);
    let uplink = instance.uplinks().next();
    InstanceRow {
        instance: instance.name.to_string(),
        health,
        problems,
        ifname: uplink.map(|(index, link)| host_name(instance, host, index, &link.name)),
        ifindex: uplink.map(|(index, _)| index),
        outside: uplink.map(|(_, link)| link.addr.into()),
        outsides,
        outsides6: outsides6(instance, host),
        devices: devices(instance, host),
        inside: inside(instance),
        settings: settings(found, host, &pins),
        leads_own_sockets: (!instance.forwarding.rules.is_empty())
            .then_some(instance.calls == Some(Running::Current)),
        epoch: instance.config.epoch,
        pins: pins.dir().display().to_string(),
    }
}

/// What is half made has not been told anything yet.
fn settings(found: &Found, host: &Host, pins: &Pins) -> Option<Settings> {
    let instance = match found {
        Found::Whole(instance) | Found::Other(instance, _) => instance,
        Found::HalfMade(_) => return None,
    };
    let Config { udp, icmp, tcp_established, tcp_transitory, .. } = instance.config;
    let Config { port_rest, max_flows, flags, log_level, .. } = instance.config;
    let tables = Tables::of(pins.clone());
    let (flows, mappings) = tables.counts().unwrap_or_default();
    Some(Settings {
        ports: instance.ports(),
        low_ports: instance.low_ports(),
        port_block: few(instance.config.port_block),
        exclude: instance.exclusions.iter().map(ToString::to_string).collect(),
        filtering: Filtering::from_number(instance.config.filtering),
        max_ports_per_host: few(instance.config.host_mappings),
        max_flows_per_host: few(instance.config.host_flows),
        timeout_udp_s: udp,
        refresh: state::refresh(&instance.config),
        timeout_icmp_s: icmp,
        timeout_tcp_established_s: tcp_established,
        timeout_tcp_transitory_s: tcp_transitory,
        port_rest_s: port_rest,
        max_flows,
        flows,
        mappings,
        memory_bytes: tables.memory(),
        answer: flags & config_flag::ANSWER != 0,
        events: flags & config_flag::EVENTS != 0,
        xdp: Xdp::from_number(instance.config.xdp),
        fragments: if instance.config.sorter == 0 { "ordered" } else { "sort" },
        log_level: Level::from_number(log_level),
        spec: said(instance, |index, name| host_name(instance, host, index, name)),
    })
}

/// A number where 0 stands for none.
const fn few(number: u32) -> Option<u32> {
    if number == 0 { None } else { Some(number) }
}

/// The name now, when the device can be seen from here.
pub(super) fn host_name(instance: &Instance, host: &Host, index: u32, record: &[u8]) -> String {
    let was = read_name(record);
    let here = instance.config.netns == host.netns && !instance.is_dead(host);
    if here { host.name_of(index, &was) } else { was }
}

fn outsides(instance: &Instance, host: &Host) -> Vec<OutsideRow> {
    let row = |(number, outside): (&u32, &Outside)| OutsideRow {
        address: outside.addr.into(),
        ifname: instance
            .links
            .get(&outside.link)
            .map(|link| host_name(instance, host, outside.link, &link.name))
            .unwrap_or_default(),
        ifindex: outside.link,
        number: *number,
    };
    instance.outsides.iter().map(row).collect()
}

fn outsides6(instance: &Instance, host: &Host) -> Vec<Outside6Row> {
    let row = |(index, uplink): (&u32, &Uplink6)| Outside6Row {
        address: uplink.addr.into(),
        ifname: instance
            .links
            .get(index)
            .map(|link| host_name(instance, host, *index, &link.name))
            .unwrap_or_default(),
        ifindex: *index,
        number: uplink.outside,
    };
    instance.uplinks6.iter().map(row).collect()
}

fn devices(instance: &Instance, host: &Host) -> Vec<HookRow> {
    let rows = instance.links.iter().map(|(index, link)| HookRow {
        ifname: host_name(instance, host, *index, &link.name),
        ifindex: *index,
        role: role_name(link.roles),
        xdp: xdp_name(link.xdp),
        via: if instance.by_clsact(*index) { "clsact" } else { "tcx" },
        shortcut: link.flags & link_flag::NO_SHORTCUT == 0,
        hooks: Hook::ALL.into_iter().filter(|hook| runs(instance, *index, *hook)).collect(),
    });
    rows.collect()
}

const fn xdp_name(mode: u8) -> &'static str {
    match mode {
        xdp::NATIVE => "native",
        xdp::GENERIC => "generic",
        _ => "off",
    }
}

const fn role_name(roles: u32) -> &'static str {
    match roles {
        roles if roles & role::UPLINK != 0 => "uplink",
        roles if roles & role::INSIDE != 0 => "inside",
        roles if roles & role::SORTER != 0 => "sorter",
        _ => "hooked",
    }
}

pub(super) fn runs(instance: &Instance, index: u32, hook: Hook) -> bool {
    matches!(instance.hooks.get(&(index, hook)), Some(Running::Current | Running::Old))
}

fn inside(instance: &Instance) -> Vec<InsideRow> {
    let rows = instance.sources.iter().filter(|(_, source)| source.action != source::OUTSIDE).map(
        |(net, source)| InsideRow {
            prefix: net.to_string(),
            action: if source.action == source::KEEP { "keep" } else { "translate" },
        },
    );
    rows.collect()
}
