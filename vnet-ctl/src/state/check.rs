//! Whether a wish collides with what is there: other instances, and other people's programs.

use std::collections::{BTreeMap, BTreeSet};

use vnet_common::LAYOUT_VERSION;
use vnet_common::policy::Link;

use super::host::{Filter, Host, TcxProgram};
use super::inside::named;
use super::instance::{Found, Instance, Layout, read_name};
use super::life::Life;
use super::xdp::xdp_faults;
use crate::fault::Fault;
use crate::spec::{self, Attach, Hook};

/// Every collision of the wish with what is there.
#[must_use]
pub fn check(
    wish: &Attach,
    host: &Host,
    instances: &BTreeMap<spec::Instance, Found>,
    wanted: Option<&Instance>,
) -> Vec<Fault> {
    let mut faults = Vec::new();
    if let Some(found) = instances.get(&wish.instance) {
        own(wish, host, found, &mut faults);
    }
    for (name, found) in instances.iter().filter(|(name, _)| **name != wish.instance) {
        others(name, found.instance(), host, wish, wanted, &mut faults);
    }
    for name in named(wish) {
        faults.extend(foreign(name, host, instances));
    }
    faults.extend(xdp_faults(wish, host));
    faults
}

/// Whether the instance of the wish's own name can become what is wished.
fn own(wish: &Attach, host: &Host, found: &Found, faults: &mut Vec<Fault>) {
    let instance = found.instance();
    if let Some(fault) = elsewhere(instance, host) {
        faults.push(fault);
        return;
    }
    match found {
        Found::HalfMade(_) => return,
        Found::Other(older, _) if older.layout == Layout::Older && older.is_dead(host) => return,
        Found::Other(older, _) if older.layout == Layout::Older => {}
        Found::Other(_, version) => {
            let ours = format!("layout {LAYOUT_VERSION}");
            let (instance, found) = (wish.instance.to_string(), version.clone());
            faults.push(Fault::Version { instance, found, ours });
            return;
        }
        Found::Whole(_) if instance.is_dead(host) => return,
        Found::Whole(_) => {}
    }
    let name = |(index, link): (u32, &Link)| host.name_of(index, &read_name(&link.name));
    let uplinks: Vec<_> = instance.uplinks().map(name).collect();
    if !uplinks.is_empty() && uplinks.iter().all(|uplink| !wish.uplinks.contains(uplink)) {
        let (instance, uplink) = (wish.instance.to_string(), uplinks.join(", "));
        faults.push(Fault::SecondUplink { instance, uplink });
    }
    let wanted = wish.max_flows.unwrap_or(instance.config.max_flows);
    if wanted != instance.config.max_flows {
        let (instance, found) = (wish.instance.to_string(), instance.config.max_flows);
        faults.push(Fault::MaxFlows { instance, found, wanted });
    }
}

/// Why an instance that lives, or may live, in another namespace cannot be touched from here.
#[must_use]
pub fn elsewhere(instance: &Instance, host: &Host) -> Option<Fault> {
    match instance.life(host) {
        Life::Here | Life::Dead => None,
        Life::Elsewhere => Some(Fault::OtherNamespace(instance.name.to_string())),
        Life::Unseen => Some(Fault::UnseenNamespace(instance.name.to_string())),
    }
}

/// Whether another instance has a device or the ports of the wish.
fn others(
    name: &spec::Instance,
    other: &Instance,
    host: &Host,
    wish: &Attach,
    wanted: Option<&Instance>,
    faults: &mut Vec<Fault>,
) {
    if other.life(host) != Life::Here || !other.runs(None) {
        return;
    }
    for device in named(wish) {
        let index = host.by_name(device).map(|(index, _)| index);
        if index.is_some_and(|index| other.claims(index) && other.runs(Some(index))) {
            let (device, instance) = (device.to_owned(), name.to_string());
            faults.push(Fault::OtherInstance { device, instance });
        }
    }
    let addresses: BTreeSet<_> = wanted.into_iter().flat_map(Instance::addresses).collect();
    for address in other.addresses().filter(|address| addresses.contains(address)) {
        let wished = || std::iter::once(wish.ports).chain(wish.low);
        let both = other.all_ports().filter(|ports| wished().any(|own| own.overlaps(*ports)));
        let ports: Vec<_> = both.map(|ports| ports.to_string()).collect();
        if !ports.is_empty() {
            let (instance, ports) = (name.to_string(), ports.join(" and "));
            faults.push(Fault::Overlap { instance, ports, address });
        }
    }
}

/// What is known to be ours: kernel ids of TCX programs, and links with filters.
struct Ours<'a> {
    ids: BTreeSet<u32>,
    links: Vec<(u32, &'a Link)>,
}

fn ours(instances: &BTreeMap<spec::Instance, Found>) -> Ours<'_> {
    let all = || instances.values().map(Found::instance);
    Ours {
        ids: all().flat_map(|instance| instance.ids.iter().copied()).collect(),
        links: all().flat_map(|i| i.links.iter().map(|(index, link)| (*index, link))).collect(),
    }
}

impl Ours<'_> {
    fn has(&self, index: u32, filter: &Filter) -> bool {
        self.links.iter().any(|(own, link)| *own == index && is_ours(link, filter))
    }
}

/// Whether a filter is one that the link's record describes.
fn is_ours(link: &Link, filter: &Filter) -> bool {
    let handle = match filter.hook {
        Hook::In => link.filter_in,
        Hook::Out => link.filter_out,
        Hook::Xdp => return false,
    };
    link.filter_priority == u32::from(filter.priority)
        && handle == filter.handle
        && filter.name == format!("vnet_{}", filter.hook)
}

/// Programs and filters on a device that are somebody else's.
#[must_use]
pub fn foreign(
    device: &str,
    host: &Host,
    instances: &BTreeMap<spec::Instance, Found>,
) -> Vec<Fault> {
    let Some((index, _)) = host.by_name(device) else { return Vec::new() };
    let Some(tc) = host.tc.get(&index) else { return Vec::new() };
    let ours = ours(instances);
    let programs = tc.tcx.iter().filter(|program| !ours.ids.contains(&program.id));
    let filters = tc.filters.iter().filter(|filter| !ours.has(index, filter));
    // Some classifiers list their inner tables as filters too: one sentence for each is enough.
    let filters: BTreeSet<_> = filters.map(filter_words).collect();
    let qdisc = tc.qdisc.as_deref().filter(|kind| !host.tcx && *kind != "clsact");
    let qdisc = qdisc.map(|kind| format!("a qdisc '{kind}' where clsact has to go"));
    let what = programs.map(program_words).chain(filters).chain(qdisc);
    what.map(|what| Fault::Foreign { device: device.to_owned(), what }).collect()
}

fn program_words(program: &TcxProgram) -> String {
    let TcxProgram { hook, id, name } = program;
    format!("the TCX program '{name}' (id {id}, {hook})")
}

fn filter_words(filter: &Filter) -> String {
    let Filter { kind, name, hook, priority, .. } = filter;
    let name = if name.is_empty() { String::new() } else { format!(" '{name}'") };
    format!("the clsact filter{name} (kind {kind}, pref {priority}, {hook})")
}
