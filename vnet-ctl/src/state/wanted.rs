//! From a wish and the facts to the instance that is wanted.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use vnet_common::LAYOUT_VERSION;
use vnet_common::policy::{
    Config, Link, Outside, Source, Sysctl, config_flag, link_flag, role, source,
};
use vnet_common::translate::pool;

use super::block::{numbers as blocks, too_few_blocks};
use super::forward::Forwarding;
use super::host::{Device, Host, IP_FORWARD, LIBERAL, Tc, conf_device};
use super::inside::{hooked, named, nets};
use super::instance::{Instance, Layout, Running, write_name};
use super::nat66::{numbers, uplinks6};
use super::outside::outsides;
use super::prefix6::prefixes6;
use super::{sorter, xdp};
use crate::fault::Fault;
use crate::spec::{Attach, Inside};

/// Priority of our filters where `clsact` is used.
pub const FILTER_PRIORITY: u16 = 7;
/// Handle of our filters where `clsact` is used, or the first of those of several instances.
pub const FILTER_HANDLE: u32 = 0x766e;

/// The instance the wish asks for, given what is there.
///
/// `found` is the instance it becomes; `build` tells which object the programs are of.
///
/// # Errors
/// Every reason why it cannot be.
pub fn wanted(
    wish: &Attach,
    host: &Host,
    found: Option<&Instance>,
    build: u32,
) -> Result<Instance, Vec<Fault>> {
    let mut faults = Vec::new();
    let config = Config { build, ..config(wish, host, found) };
    let room = config.addresses.saturating_sub(numbers(wish));
    let outsides = outsides(wish, host, found, room, &mut faults);
    let uplinks6 = uplinks6(wish, host, found, config.addresses, &mut faults);
    let mut links = links(wish, host, found, &outsides, &mut faults);
    faults.extend(sorter::clash(wish, host));
    if !faults.is_empty() {
        return Err(faults);
    }
    let sorter = sorter::wanted(wish, host);
    if let Some(index) = sorter {
        let base = link(index, &sorter::device(wish), host, found);
        links.insert(index, Link { roles: role::SORTER, ..base });
    }
    let config = Config { sorter: sorter.unwrap_or(0), ..config };
    for (index, _) in wish.no_shortcut.iter().filter_map(|name| host.by_name(name)) {
        links.entry(index).and_modify(|link| link.flags |= link_flag::NO_SHORTCUT);
    }
    xdp::dress(wish, host, &mut links);
    let sources = sources(wish, host, &links, &outsides);
    faults.extend(too_few_blocks(wish, host, &config, &links));
    if !faults.is_empty() {
        return Err(faults);
    }
    let rules = found.map(|found| found.forwarding.staying()).unwrap_or_default();
    let forwarding = Forwarding::of(rules, &outsides);
    let hooks = sorter::all_hooks(&links).map(|hook| (hook, Running::Current));
    Ok(Instance {
        name: wish.instance.clone(),
        config,
        prefixes6: prefixes6(wish, host, &links),
        uplinks6,
        hooks: hooks.collect(),
        outsides,
        sources,
        exclusions: wish.exclude.clone(),
        sysctls: sysctls(host, &links, found),
        links,
        calls: calls(&forwarding, found, host),
        forwarding,
        sorter,
        programs: true,
        ids: found.map(|found| found.ids.clone()).unwrap_or_default(),
        layout: Layout::Own,
    })
}

/// What is to sit on the calls of this host's own sockets: nothing without a forward to lead them by,
/// and nothing where the kernel has no such calls.
#[must_use]
pub fn calls(forwarding: &Forwarding, found: Option<&Instance>, host: &Host) -> Option<Running> {
    let there = found.is_some_and(|found| found.calls.is_some());
    let can = there || host.uncallable.is_none();
    (can && !forwarding.rules.is_empty()).then_some(Running::Current)
}

fn links(
    wish: &Attach,
    host: &Host,
    found: Option<&Instance>,
    outsides: &BTreeMap<u32, Outside>,
    faults: &mut Vec<Fault>,
) -> BTreeMap<u32, Link> {
    let mut links = BTreeMap::new();
    for (number, outside) in outsides {
        let Some(device) = host.devices.get(&outside.link) else { continue };
        let first = || Link {
            roles: role::UPLINK,
            addr: outside.addr,
            outside: *number,
            ..link(outside.link, device, host, found)
        };
        links.entry(outside.link).or_insert_with(first).outsides += 1;
    }
    for inside in &wish.inside {
        let Inside::Device(name) = inside else { continue };
        let Some((index, device)) = device(host, name, faults) else { continue };
        let base = link(index, device, host, found);
        let flags = base.flags | link_flag::BY_NAME;
        links.insert(index, Link { roles: role::INSIDE, flags, ..base });
    }
    for index in hooked(wish, host) {
        if let Some(device) = host.devices.get(&index) {
            let base = link(index, device, host, found);
            links.insert(index, Link { roles: role::HOOKED, ..base });
        }
    }
    links
}

pub(super) fn device<'a>(
    host: &'a Host,
    name: &str,
    faults: &mut Vec<Fault>,
) -> Option<(u32, &'a Device)> {
    let Some((index, device)) = host.by_name(name) else {
        faults.push(Fault::NoDevice { name: name.to_owned(), present: host.present() });
        return None;
    };
    if device.header.is_none() {
        faults.push(Fault::LinkLayer(name.to_owned()));
        return None;
    }
    Some((index, device))
}

/// What is the same for every role: header, name, and the way the programs are attached. A link
/// that is attached keeps its way.
fn link(index: u32, device: &Device, host: &Host, found: Option<&Instance>) -> Link {
    let before = found.and_then(|found| found.links.get(&index));
    let keeps_clsact = before.is_some_and(|link| link.flags & link_flag::CLSACT != 0);
    let base = Link {
        header: device.header.unwrap_or_default(),
        name: before.map_or_else(|| write_name(&device.name), |link| link.name),
        flags: if device.needs_route { link_flag::NEEDS_ROUTE } else { 0 },
        ..Link::default()
    };
    if host.tcx && !keeps_clsact {
        return base;
    }
    let tc = host.tc.get(&index);
    let there = tc.is_some_and(|tc| tc.qdisc.is_some());
    // The last instance that goes takes it along, whichever had added it.
    let was_ours = tc.is_some_and(|tc| tc.ours)
        || before.is_some_and(|link| link.flags & link_flag::CLSACT_OURS != 0);
    let ours = if was_ours || !there { link_flag::CLSACT_OURS } else { 0 };
    let handle = match before {
        Some(link) if keeps_clsact => link.filter_in,
        Some(_) | None => free_handle(tc),
    };
    Link {
        flags: base.flags | link_flag::CLSACT | ours,
        filter_priority: u32::from(FILTER_PRIORITY),
        filter_in: handle,
        filter_out: handle,
        ..base
    }
}

/// The first handle that no filter on the device has: other instances may have theirs there.
fn free_handle(tc: Option<&Tc>) -> u32 {
    let filters = tc.map(|tc| tc.filters.as_slice()).unwrap_or_default();
    let taken: BTreeSet<_> = filters.iter().map(|filter| filter.handle).collect();
    (FILTER_HANDLE..).find(|handle| !taken.contains(handle)).unwrap_or(FILTER_HANDLE)
}

/// Inside prefixes are translated; the uplink's own further addresses are not.
fn sources(
    wish: &Attach,
    host: &Host,
    links: &BTreeMap<u32, Link>,
    outsides: &BTreeMap<u32, Outside>,
) -> BTreeMap<Ipv4Net, Source> {
    let mut sources = BTreeMap::new();
    let plain = |action| Source { action, number: 0 };
    if wish.inside.is_empty() {
        sources.insert(Ipv4Net::default(), plain(source::TRANSLATE));
    }
    let numbers = if wish.port_block == 0 { BTreeMap::new() } else { blocks(&nets(wish)) };
    for net in nets(wish) {
        let number = numbers.get(&net).copied().unwrap_or_default();
        sources.insert(net, Source { action: source::TRANSLATE, number });
    }
    for (index, _) in links.iter().filter(|(_, link)| link.roles & role::UPLINK != 0) {
        let own = host.devices.get(index).map(|device| device.addresses.as_slice());
        for (address, _) in own.unwrap_or_default() {
            if outsides.values().all(|outside| outside.addr != address.octets()) {
                sources.insert(Ipv4Net::from(*address), plain(source::KEEP));
            }
        }
    }
    for (number, outside) in outsides {
        let source = Source { action: source::OUTSIDE, number: *number };
        sources.insert(Ipv4Net::from(Ipv4Addr::from(outside.addr)), source);
    }
    sources
}

fn config(wish: &Attach, host: &Host, found: Option<&Instance>) -> Config {
    let found = found.map(|found| &found.config);
    let ipv6 = wish.nat66.on || !wish.nptv6.is_empty();
    let made_for = found.map_or(Config::DEFAULT.max_flows, |config| config.max_flows);
    Config {
        version: LAYOUT_VERSION,
        epoch: found.map_or(1, |config| config.epoch),
        netns: host.netns,
        port_min: wish.ports.min,
        port_max: wish.ports.max,
        low_min: wish.low.map_or(0, |low| low.min),
        low_max: wish.low.map_or(0, |low| low.max),
        filtering: wish.filtering as u32,
        port_block: wish.port_block,
        host_mappings: wish.host_mappings,
        host_flows: wish.host_flows,
        tcp_established: wish.tcp_established,
        tcp_transitory: wish.tcp_transitory,
        udp: wish.udp,
        icmp: wish.icmp,
        port_rest: wish.port_rest,
        max_flows: wish.max_flows.unwrap_or(made_for),
        flags: wish.flags | if ipv6 { config_flag::IPV6 } else { 0 },
        addresses: found.map_or_else(|| room(wish), |config| config.addresses),
        log_level: wish.log_level as u32,
        xdp: wish.xdp as u32,
        ..Config::DEFAULT
    }
}

/// Outside addresses to make room for: some more than there are, so that they can become more.
fn room(wish: &Attach) -> u32 {
    let wanted = wish.addresses.len().max(wish.uplinks.len());
    let wanted = u32::try_from(wanted).unwrap_or(u32::MAX).max(Config::DEFAULT.addresses);
    wanted.saturating_add(numbers(wish)).min(pool::ADDRESSES)
}

/// Whether packets of any uplink may take the shortcut.
#[must_use]
pub fn takes_shortcuts(links: &BTreeMap<u32, Link>) -> bool {
    // What is only routed takes them between any two devices.
    let mut devices = links.values().filter(|link| link.roles & role::SORTER == 0);
    devices.any(|link| link.flags & (link_flag::NO_SHORTCUT | link_flag::NEEDS_ROUTE) == 0)
}

/// Names of `--no-shortcut` that change nothing.
#[must_use]
pub fn kept_off_anyway(wish: &Attach, host: &Host) -> Vec<String> {
    let attached = |name: &str| {
        let index = host.by_name(name).map(|(index, _)| index);
        named(wish).any(|known| known == name)
            || index.is_some_and(|index| hooked(wish, host).contains(&index))
    };
    let others = wish.no_shortcut.iter().filter(|name| !attached(name));
    let note =
        |name| format!("--no-shortcut {name}: nothing is attached there, so there is no shortcut");
    others.map(note).collect()
}

/// What has to be remembered: IPv4 forwarding when it is off, and every device that forwards
/// alone, because writing `ip_forward` resets them all; and that connection tracking was strict, where
/// it will not see all segments.
fn sysctls(
    host: &Host,
    links: &BTreeMap<u32, Link>,
    found: Option<&Instance>,
) -> BTreeMap<String, Sysctl> {
    let mut sysctls = found.map(|found| found.sysctls.clone()).unwrap_or_default();
    if takes_shortcuts(links) && host.sysctls.get(LIBERAL) == Some(&0) {
        sysctls.insert(LIBERAL.to_owned(), Sysctl { before: 0, set: 1 });
    }
    if host.sysctls.get(IP_FORWARD) != Some(&0) {
        return sysctls;
    }
    let alone = host.sysctls.iter().filter(|(name, value)| {
        name.as_str() == IP_FORWARD || (conf_device(name).is_some() && **value == 1)
    });
    for (name, value) in alone {
        sysctls.entry(name.clone()).or_insert(Sysctl { before: *value, set: 1 });
    }
    sysctls
}
