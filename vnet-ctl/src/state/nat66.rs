//! NAT66: which IPv6 address each uplink masquerades by, and under which numbers.
//!
//! Promises: an uplink keeps its number, and its address if it still has it; another address gets
//! another handle, so that no connection goes on from an address it was not made with.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv6Addr;

use vnet_common::nat66::{Handle, Uplink6};

use super::host::{Device, Host};
use super::instance::Instance;
use crate::fault::Fault;
use crate::spec::Attach;

/// How many of the numbers of outside addresses are IPv6's: one for each uplink.
pub(super) fn numbers(wish: &Attach) -> u32 {
    if wish.nat66.on { u32::try_from(wish.uplinks.len()).unwrap_or(u32::MAX) } else { 0 }
}

/// What `uplinks6` is to say. IPv6 has the last of the `room` numbers.
pub(super) fn uplinks6(
    wish: &Attach,
    host: &Host,
    found: Option<&Instance>,
    room: u32,
    faults: &mut Vec<Fault>,
) -> BTreeMap<u32, Uplink6> {
    let mut uplinks = BTreeMap::new();
    if !wish.nat66.on {
        return uplinks;
    }
    let devices: Vec<_> = wish.uplinks.iter().filter_map(|name| host.by_name(name)).collect();
    let before = found.map(|found| &found.uplinks6);
    // What a device has that is gone is free.
    let had = |index: &u32| before.and_then(|all| all.get(index)).copied();
    let taken: BTreeSet<_> =
        devices.iter().filter_map(|(index, _)| had(index)).map(|had| had.outside).collect();
    let first = room.saturating_sub(numbers(wish));
    let mut free = (first..room).filter(|number| !taken.contains(number));
    for (index, device) in &devices {
        let had = had(index);
        let Some(address) = address(wish, device, had) else {
            faults.push(Fault::NoAddress6(device.name.clone()));
            continue;
        };
        let kept = had.filter(|had| had.outside >= first);
        let Some(outside) = kept.map(|had| had.outside).or_else(|| free.next()) else { continue };
        let change = found.map_or(0, |found| found.config.epoch);
        let fresh = Handle::outside(change, outside).addr();
        let handle =
            kept.filter(|had| had.addr == address.octets()).map_or(fresh, |had| had.handle);
        let asked = u32::from(wish.nat66.addresses.contains(&address));
        let addr = address.octets();
        uplinks.insert(*index, Uplink6 { addr, handle, outside, asked });
    }
    let own = || devices.iter().flat_map(|(_, device)| addresses(device));
    for address in &wish.nat66.addresses {
        if devices.len() == wish.uplinks.len() && own().all(|own| own != *address) {
            let present: Vec<_> = own().map(|own| own.to_string()).collect();
            let present = if present.is_empty() { "none".to_owned() } else { present.join(", ") };
            faults.push(Fault::Address6NotThere { address: *address, present });
        }
    }
    uplinks
}

fn addresses(device: &Device) -> impl Iterator<Item = Ipv6Addr> + '_ {
    device.networks6.iter().map(ipnet::Ipv6Net::addr)
}

/// The one that was named, else the one in use, else the first that means something everywhere, else
/// the first.
fn address(wish: &Attach, device: &Device, had: Option<Uplink6>) -> Option<Ipv6Addr> {
    let own = |address: &Ipv6Addr| addresses(device).any(|own| own == *address);
    let named = wish.nat66.addresses.iter().copied().find(own);
    let had = had.map(|had| Ipv6Addr::from(had.addr)).filter(own);
    let everywhere = addresses(device).find(|own| !own.is_unique_local());
    named.or(had).or(everywhere).or_else(|| addresses(device).next())
}
