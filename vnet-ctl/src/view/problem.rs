//! What is wrong with an instance, in sentences that say what to do about it.

use std::net::{Ipv4Addr, Ipv6Addr};

use vnet_common::policy::{Outside, role};

use super::status::{host_name, runs};
use crate::state::{self, Found, Host, IP_FORWARD, Instance, LIBERAL, Layout, Running};

/// What is wrong, and what to do about it.
pub(super) fn problems(found: &Found, host: &Host) -> Vec<String> {
    let instance = found.instance();
    match found {
        Found::HalfMade(_) => {
            return vec![
                "its making or removal was cut short: attach again, or detach it".to_owned(),
            ];
        }
        Found::Other(older, version) if older.layout == Layout::Older && !older.is_dead(host) => {
            return vec![format!(
                "it was made by an older version of vnet ({version}): attach again, which takes it over"
            )];
        }
        Found::Other(_, version) => {
            return vec![format!(
                "it was made by another version of vnet ({version}): detach it, then attach again"
            )];
        }
        Found::Whole(_) => {}
    }
    if instance.is_dead(host) {
        return vec![
            "its uplink, perhaps with its network namespace, is gone: detach it (vnetctl detach \
             --all), or attach again"
                .to_owned(),
        ];
    }
    let mut problems = Vec::new();
    let here = instance.config.netns == host.netns;
    for (index, link) in &instance.links {
        let name = host_name(instance, host, *index, &link.name);
        // Filters can only be seen from their own namespace. A device nobody has named may go.
        let may_go = link.roles == role::HOOKED && !host.devices.contains_key(index);
        let visible = here || !instance.by_clsact(*index);
        let visible = visible && !(here && may_go);
        let hooks = state::hooks(link).iter();
        for hook in hooks.filter(|hook| visible && !runs(instance, *index, **hook)) {
            problems.push(format!("the {hook} hook of {name} is not attached: attach again"));
        }
    }
    if instance.calls == Some(Running::Old) {
        let what = "what leads this host's own sockets by forwards is there in part: attach again";
        problems.push(what.to_owned());
    }
    if here {
        problems.extend(address_problems(instance, host));
        if instance.config.sorter != 0 && instance.sorter.is_none() {
            let what = "what puts fragments in order is gone, at least in part: attach again";
            problems.push(what.to_owned());
        }
        if host.sysctls.get(IP_FORWARD) == Some(&0) {
            problems.push(format!("{IP_FORWARD} is 0, nothing is forwarded: attach again"));
        }
        let short = state::takes_shortcuts(&instance.links);
        if short && host.sysctls.get(LIBERAL) == Some(&0) {
            problems.push(format!(
                "{LIBERAL} is 0, so a firewall that drops what is invalid drops TCP that took the \
                 shortcut: attach again"
            ));
        }
    }
    problems
}

fn address_problems(instance: &Instance, host: &Host) -> Vec<String> {
    let gone = instance.uplinks6.iter().filter_map(|(index, uplink)| {
        let (device, address) = (host.devices.get(index)?, Ipv6Addr::from(uplink.addr));
        let there = device.networks6.iter().any(|own| own.addr() == address);
        let name = &device.name;
        (!there).then(|| {
            format!(
                "outside address {address} is no longer on {name}: put it back, or attach again"
            )
        })
    });
    let all = instance.outsides.values().filter_map(|outside| address_problem(outside, host));
    all.chain(gone).collect()
}

fn address_problem(outside: &Outside, host: &Host) -> Option<String> {
    let device = host.devices.get(&outside.link)?;
    let (name, address) = (&device.name, Ipv4Addr::from(outside.addr));
    let asked = Some(Ipv4Addr::from(outside.asked)).filter(|asked| !asked.is_unspecified());
    let wanted = asked.unwrap_or(address);
    let which = match wanted {
        Ipv4Addr::UNSPECIFIED => "the outside address".to_owned(),
        wanted => format!("outside address {wanted}"),
    };
    let other = device.addresses.iter().any(|(_, global)| *global);
    match (asked, other) {
        _ if device.has(wanted) => None,
        (None, true) => {
            Some(format!("{which} is no longer on {name}: the next packet takes another"))
        }
        (None, false) => {
            Some(format!("{which} is no longer on {name}, nor any other: nothing can leave"))
        }
        (Some(_), _) => {
            Some(format!("{which} is no longer on {name}: put it back, or attach with another"))
        }
    }
}
