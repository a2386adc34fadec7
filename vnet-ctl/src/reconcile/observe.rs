//! Everything a decision needs to know, looked at once.

use std::collections::{BTreeMap, BTreeSet};
use std::env;

use crate::bpf::{self, Pinned};
use crate::netlink::Netlink;
use crate::proc::{namespace, sorter, sysctl::Sysctls};
use crate::spec::{self, Attach, Hook};
use crate::state::{self, Found, Host, Instance, Life, Running, Tc, Way};
use vnet_common::policy::{link_flag, xdp};

use super::error::Error;

/// For tests: `VNET_TCX=off` makes this process believe that the kernel has no TCX.
const TCX_OFF: &str = "VNET_TCX";

/// What was seen.
#[derive(Clone, Debug)]
pub struct Seen {
    /// The namespace this process is in.
    pub host: Host,
    /// All instances, of every namespace.
    pub instances: BTreeMap<spec::Instance, Found>,
}

/// Whose hooks are looked at, besides those of all devices of instances.
#[derive(Clone, Copy, Debug)]
pub enum Scope<'a> {
    /// Nobody else's.
    Instances,
    /// Those of devices that a wish may touch.
    Wish(&'a Attach),
    /// Those of every device.
    All,
}

impl Scope<'_> {
    fn devices(self, host: &Host) -> Vec<u32> {
        match self {
            Self::Instances => Vec::new(),
            Self::Wish(wish) => state::touched(wish, host),
            Self::All => host.devices.keys().copied().collect(),
        }
    }
}

/// Looks at the namespace, at every instance, and at the hooks of devices.
///
/// # Errors
/// When something cannot be looked at.
pub async fn observe(netlink: &Netlink, scope: Scope<'_>) -> Result<Seen, Error> {
    let mut host = facts(netlink).await?;
    let mut pinned = BTreeMap::new();
    if bpf::is_mounted() {
        for name in bpf::instances()? {
            if let Some(found) = bpf::read(&name)? {
                pinned.insert(name, found);
            }
        }
    }
    let netns = host.netns;
    let here = pinned.values().map(|pinned| pinned.found.instance());
    let managed: Vec<_> = here.filter(|instance| instance.config.netns == netns).collect();
    let mut indexes: BTreeSet<_> =
        managed.iter().flat_map(|instance| instance.links.keys().copied()).collect();
    indexes.extend(scope.devices(&host));
    for index in indexes {
        if let Some(device) = host.devices.get(&index) {
            let name = device.name.clone();
            let mut tc = tc(netlink, index, &name, host.tcx).await?;
            tc.ours = managed.iter().any(|instance| added_qdisc(instance, index));
            host.tc.insert(index, tc);
        }
    }
    let instances = pinned.into_iter().map(|(name, pinned)| (name, with_filters(pinned, &host)));
    let mut seen = Seen { instances: instances.collect(), host };
    seen.mark();
    Ok(seen)
}

fn added_qdisc(instance: &Instance, index: u32) -> bool {
    instance.links.get(&index).is_some_and(|link| link.flags & link_flag::CLSACT_OURS != 0)
}

impl Seen {
    /// Notes in the host's facts which devices others use: other instances, and other people.
    fn mark(&mut self) {
        let Self { host, instances } = self;
        let living = instances.values().map(Found::instance);
        let living = living.filter(|instance| instance.life(host) == Life::Here);
        let uplinks =
            living.flat_map(|own| own.uplinks().map(|(index, _)| (index, own.name.clone())));
        let uplinks = uplinks.collect();
        let named =
            host.tc.keys().filter_map(|index| Some((*index, &host.devices.get(index)?.name)));
        let used = named.filter(|(_, name)| !state::foreign(name, host, instances).is_empty());
        let foreign = used.map(|(index, _)| index).collect();
        let owners: Vec<_> = host
            .devices
            .iter()
            .filter_map(|(index, device)| {
                let id = device.xdp.program.as_ref()?.id;
                let owner = instances.values().map(Found::instance).find(|instance| {
                    instance.ids.contains(&id) && instance.hooks.contains_key(&(*index, Hook::Xdp))
                });
                Some((*index, owner?.name.clone()))
            })
            .collect();
        (host.uplinks, host.foreign) = (uplinks, foreign);
        for (index, owner) in owners {
            let device = host.devices.get_mut(&index);
            if let Some(program) = device.and_then(|device| device.xdp.program.as_mut()) {
                program.owner = Some(owner);
            }
        }
    }
}

async fn facts(netlink: &Netlink) -> Result<Host, Error> {
    let netns = namespace::current();
    let sysctls = Sysctls::default().forwarding();
    Ok(Host {
        netns: netns.map_err(|error| Error::io("identify the network namespace", error))?,
        namespaces: namespace::alive(),
        devices: netlink.devices().await?,
        sorters: sorter::all().into_iter().collect(),
        sysctls: sysctls.map_err(|error| Error::io("read the forwarding sysctls", error))?,
        tcx: env::var_os(TCX_OFF).is_none_or(|value| value != "off") && bpf::has_tcx(),
        ..Host::default()
    })
}

async fn tc(netlink: &Netlink, index: u32, name: &str, tcx: bool) -> Result<Tc, Error> {
    let seen = netlink.tc(index).await?;
    let tcx = if tcx { bpf::tcx_programs(name)? } else { Vec::new() };
    Ok(Tc { tcx, ..seen })
}

/// Adds the hooks that are filters: they have no pins, and are recognised by the link's record.
fn with_filters(pinned: Pinned, host: &Host) -> Found {
    let Pinned { found, programs } = pinned;
    let add = |mut instance: Box<Instance>| {
        if instance.config.netns == host.netns {
            instance.sorter = state::sorter(&instance.name, host);
            for (index, hook, id) in filters(&instance, host) {
                let current = programs.get(&hook).copied() == id;
                let running = if current { Running::Current } else { Running::Old };
                instance.hooks.insert((index, hook), running);
                instance.ids.extend(id);
            }
            see_xdp(&mut instance, host);
        }
        instance
    };
    match found {
        Found::Whole(instance) => Found::Whole(add(instance)),
        Found::HalfMade(instance) => Found::HalfMade(add(instance)),
        Found::Other(instance, version) => Found::Other(add(instance), version),
    }
}

/// An XDP link says what it keeps on its device, and not whether that is still there, nor in which mode: the
/// device does. What `links` says of the mode is what was wanted last.
fn see_xdp(instance: &mut Instance, host: &Host) {
    let Instance { hooks, ids, links, .. } = instance;
    for ((index, _), running) in hooks.iter_mut().filter(|((_, hook), _)| *hook == Hook::Xdp) {
        let device = host.devices.get(index);
        let program = device.and_then(|device| device.xdp.program.as_ref());
        let Some(program) = program.filter(|program| ids.contains(&program.id)) else {
            *running = Running::Gone;
            continue;
        };
        if let Some(link) = links.get_mut(index) {
            link.xdp = if program.generic { xdp::GENERIC } else { xdp::NATIVE };
        }
    }
}

fn filters(instance: &Instance, host: &Host) -> Vec<(u32, Hook, Option<u32>)> {
    let mut found = Vec::new();
    for (index, link) in &instance.links {
        for filter in host.tc.get(index).map(|tc| tc.filters.as_slice()).unwrap_or_default() {
            let at = Way::Clsact { priority: filter.priority, handle: filter.handle };
            if Way::of(link, filter.hook) == at && filter.name.starts_with("vnet_") {
                found.push((*index, filter.hook, filter.program));
            }
        }
    }
    found
}
