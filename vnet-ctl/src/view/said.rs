//! What an instance was told, read back from its maps: what `vnetctl apply` would have to be told to
//! make another like it.

use std::net::{Ipv4Addr, Ipv6Addr};

use ipnet::Ipv4Net;
use vnet_common::policy::{Config, config_flag, role, source};

use crate::spec::{Filtering, Level, Words, Xdp};
use crate::state::{Instance, kept_off, pairs, refresh};

/// The words. `name` tells the name of a device, given its index and its name in the maps.
pub(super) fn said(instance: &Instance, name: impl Fn(u32, &[u8]) -> String) -> Words {
    let Config { flags, host_mappings, host_flows, port_block, .. } = instance.config;
    let Config { udp, icmp, tcp_established, tcp_transitory, .. } = instance.config;
    let Config { port_rest, max_flows, sorter, log_level, filtering, .. } = instance.config;
    let number = |number: u32| Some(number.to_string());
    let few = |few: u32| if few == 0 { None } else { number(few) };
    let word = |word: &str| Some(word.to_owned());
    Words {
        nat: uplinks(instance, &name),
        inside: inside(instance, &name),
        ports: Some(instance.ports().to_string()),
        low_ports: instance.low_ports().map_or_else(|| word("none"), |low| Some(low.to_string())),
        port_block: few(port_block),
        address: addresses(instance),
        exclude: instance.exclusions.iter().map(ToString::to_string).collect(),
        filtering: word(Filtering::from_number(filtering).name()),
        max_ports_per_host: few(host_mappings),
        max_flows_per_host: few(host_flows),
        instance: instance.name.to_string(),
        max_flows: number(max_flows),
        timeout_udp: number(udp),
        refresh: word(refresh(&instance.config)),
        timeout_icmp: number(icmp),
        timeout_tcp_established: number(tcp_established),
        timeout_tcp_transitory: number(tcp_transitory),
        port_rest: number(port_rest),
        fragments: word(if sorter == 0 { "ordered" } else { "sort" }),
        no_shortcut: kept_off(instance).map(|(index, link)| name(index, &link.name)).collect(),
        xdp: word(Xdp::from_number(instance.config.xdp).name()),
        no_answer: flags & config_flag::ANSWER == 0,
        nat66: !instance.uplinks6.is_empty(),
        address6: addresses6(instance),
        nptv6: pairs(instance).map(|pair| pair.to_string()).collect(),
        events: flags & config_flag::EVENTS != 0,
        log_level: word(Level::from_number(log_level).name()),
    }
}

/// In the order of their outside addresses, which is the one they were named in.
fn uplinks(instance: &Instance, name: impl Fn(u32, &[u8]) -> String) -> Vec<String> {
    let mut uplinks: Vec<_> = instance.uplinks().collect();
    uplinks.sort_by_key(|(_, link)| link.outside);
    uplinks.into_iter().map(|(index, link)| name(index, &link.name)).collect()
}

fn inside(instance: &Instance, name: impl Fn(u32, &[u8]) -> String) -> Vec<String> {
    let nets = instance.sources.iter().filter(|(_, found)| found.action == source::TRANSLATE);
    let nets: Vec<_> = nets.map(|(net, _)| *net).collect();
    let links = instance.links.iter().filter(|(_, link)| link.roles & role::INSIDE != 0);
    let devices: Vec<_> = links.map(|(index, link)| name(*index, &link.name)).collect();
    if nets == [Ipv4Net::default()] && devices.is_empty() {
        // Everybody.
        return devices;
    }
    nets.iter().map(ToString::to_string).chain(devices).collect()
}

/// The same of IPv6.
fn addresses6(instance: &Instance) -> Vec<String> {
    let asked = instance.uplinks6.values().filter(|uplink| uplink.asked != 0);
    asked.map(|uplink| Ipv6Addr::from(uplink.addr).to_string()).collect()
}

/// Those that were asked for.
fn addresses(instance: &Instance) -> Vec<String> {
    let asked = instance.outsides.values().map(|outside| Ipv4Addr::from(outside.asked));
    asked.filter(|asked| !asked.is_unspecified()).map(|asked| asked.to_string()).collect()
}
