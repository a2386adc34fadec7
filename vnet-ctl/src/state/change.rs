//! What an attach changes of an instance that runs, for people: one line for each difference.

use std::collections::BTreeSet;
use std::net::Ipv6Addr;

use serde::Serialize;
use vnet_common::policy::{Config, Link, config_flag, link_flag, role, source};

use super::host::{Host, IP_FORWARD, LIBERAL};
use super::instance::{Instance, Running, read_name};
use super::prefix6::pairs;
use super::wanted::takes_shortcuts;
use crate::spec::{Filtering, Level, Xdp};

/// One difference, in the words of `vnetctl attach`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Change {
    /// What is different.
    pub what: String,
    /// What it was.
    pub before: String,
    /// What it becomes.
    pub after: String,
}

/// Every difference between an instance and what it is to become, repairs included.
#[must_use]
pub fn changes(before: &Instance, after: &Instance, host: &Host) -> Vec<Change> {
    let pairs = settings(before).into_iter().zip(settings(after));
    let different = pairs.filter(|((_, before), (_, after))| before != after);
    let mut changes: Vec<_> =
        different.map(|((what, before), (_, after))| change(what, &before, &after)).collect();
    if after.config.build != before.config.build {
        changes.push(change("programs", "of another build", "of this vnetctl"));
    }
    changes.extend(hooks(before, after));
    if host.sysctls.get(IP_FORWARD) == Some(&0) {
        changes.push(change(IP_FORWARD, "0", "1"));
    }
    let liberal = takes_shortcuts(&after.links) && after.sysctls.contains_key(LIBERAL);
    if liberal && host.sysctls.get(LIBERAL) == Some(&0) {
        changes.push(change(LIBERAL, "0", "1"));
    }
    changes
}

fn change(what: impl Into<String>, before: &str, after: &str) -> Change {
    Change { what: what.into(), before: before.to_owned(), after: after.to_owned() }
}

/// What `attach` has options for, always in the same order.
fn settings(instance: &Instance) -> Vec<(&'static str, String)> {
    let config = &instance.config;
    let seconds = |number: u32| format!("{number} s");
    let few = |number: u32| if number == 0 { "none".to_owned() } else { number.to_string() };
    vec![
        ("sources", sources(instance, source::TRANSLATE)),
        ("left alone", sources(instance, source::KEEP)),
        ("inside devices", devices(instance, role::INSIDE)),
        ("devices hooked", devices(instance, role::HOOKED)),
        ("uplinks", devices(instance, role::UPLINK)),
        ("address", listed(instance.addresses().map(|address| address.to_string()))),
        ("ports", instance.ports().to_string()),
        ("low-ports", listed(instance.low_ports().iter().map(ToString::to_string))),
        ("port-block", few(config.port_block)),
        ("exclude", listed(instance.exclusions.iter().map(ToString::to_string))),
        ("filtering", Filtering::from_number(config.filtering).name().to_owned()),
        ("max-ports-per-host", few(config.host_mappings)),
        ("max-flows-per-host", few(config.host_flows)),
        ("timeout-udp", seconds(config.udp)),
        ("refresh", refresh(config).to_owned()),
        ("timeout-icmp", seconds(config.icmp)),
        ("timeout-tcp-established", seconds(config.tcp_established)),
        ("timeout-tcp-transitory", seconds(config.tcp_transitory)),
        ("port-rest", seconds(config.port_rest)),
        ("events", switch(config.flags & config_flag::EVENTS != 0).to_owned()),
        ("fragments", if config.sorter == 0 { "ordered" } else { "sort" }.to_owned()),
        ("no-shortcut", listed(kept_off(instance).map(|(_, link)| read_name(&link.name)))),
        ("xdp", Xdp::from_number(config.xdp).name().to_owned()),
        ("answer", switch(config.flags & config_flag::ANSWER != 0).to_owned()),
        ("nptv6", listed(pairs(instance).map(|pair| pair.to_string()))),
        ("nat66", listed(instance.uplinks6.values().map(|up| Ipv6Addr::from(up.addr).to_string()))),
        ("log-level", Level::from_number(config.log_level).name().to_owned()),
    ]
}

/// Devices whose packets always take the kernel's way.
pub fn kept_off(instance: &Instance) -> impl Iterator<Item = (u32, &Link)> {
    let links = instance.links.iter().map(|(index, link)| (*index, link));
    links.filter(|(_, link)| link.flags & link_flag::NO_SHORTCUT != 0)
}

/// The word for how UDP mappings are refreshed.
#[must_use]
pub const fn refresh(config: &Config) -> &'static str {
    if config.flags & config_flag::INBOUND_REFRESH != 0 { "both" } else { "outbound" }
}

const fn switch(on: bool) -> &'static str {
    if on { "on" } else { "off" }
}

fn sources(instance: &Instance, action: u32) -> String {
    let with = instance.sources.iter().filter(|(_, found)| found.action == action);
    listed(with.map(|(net, _)| net.to_string()))
}

fn devices(instance: &Instance, role: u32) -> String {
    let links = instance.links.values().filter(|link| link.roles & role != 0);
    let names: BTreeSet<_> = links.map(|link| read_name(&link.name)).collect();
    listed(names.into_iter())
}

fn listed(words: impl Iterator<Item = String>) -> String {
    let words: Vec<_> = words.collect();
    if words.is_empty() { "none".to_owned() } else { words.join(", ") }
}

/// Hooks of devices that stay, whose program was missing.
fn hooks(before: &Instance, after: &Instance) -> Vec<Change> {
    let stay = after.hooks.keys().filter(|(index, _)| before.links.contains_key(index));
    let missing =
        stay.filter(|hook| before.hooks.get(hook).is_none_or(|running| *running == Running::Gone));
    let name = |index| after.links.get(index).map(|link| read_name(&link.name)).unwrap_or_default();
    missing
        .map(|(index, hook)| {
            change(format!("{hook} hook of {}", name(index)), "not attached", "attached")
        })
        .collect()
}
