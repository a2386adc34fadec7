//! Everything a decision needs to know, looked at once.

use std::collections::BTreeMap;
use std::env;

use crate::bpf::{self, Pinned};
use crate::netlink::Netlink;
use crate::proc::{namespace, sysctl::Sysctls};
use crate::spec::{self, Hook};
use crate::state::{Found, Host, Instance, Running, Tc, Way};

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

/// Looks at the namespace, at every instance, and at the hooks of the named devices and of all
/// devices of instances.
///
/// # Errors
/// When something cannot be looked at.
pub async fn observe(netlink: &Netlink, devices: &[&str]) -> Result<Seen, Error> {
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
    let managed = here.filter(|instance| instance.config.netns == netns);
    let mut indexes: Vec<_> = managed.flat_map(|instance| instance.links.keys().copied()).collect();
    indexes.extend(devices.iter().filter_map(|name| Some(host.by_name(name)?.0)));
    for index in indexes {
        if let Some(device) = host.devices.get(&index) {
            let name = device.name.clone();
            host.tc.insert(index, tc(netlink, index, &name, host.tcx).await?);
        }
    }
    let instances = pinned.into_iter().map(|(name, pinned)| (name, with_filters(pinned, &host)));
    Ok(Seen { instances: instances.collect(), host })
}

async fn facts(netlink: &Netlink) -> Result<Host, Error> {
    let netns = namespace::current();
    let sysctls = Sysctls::default().forwarding();
    Ok(Host {
        netns: netns.map_err(|error| Error::io("identify the network namespace", error))?,
        namespaces: namespace::alive(),
        devices: netlink.devices().await?,
        tc: BTreeMap::new(),
        sysctls: sysctls.map_err(|error| Error::io("read the forwarding sysctls", error))?,
        tcx: env::var_os(TCX_OFF).is_none_or(|value| value != "off") && bpf::has_tcx(),
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
            for (index, hook, id) in filters(&instance, host) {
                let current = programs.get(&hook).copied() == id;
                let running = if current { Running::Current } else { Running::Old };
                instance.hooks.insert((index, hook), running);
                instance.ids.extend(id);
            }
        }
        instance
    };
    match found {
        Found::Whole(instance) => Found::Whole(add(instance)),
        Found::HalfMade(instance) => Found::HalfMade(add(instance)),
        Found::Other(instance, version) => Found::Other(add(instance), version),
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
