//! The cable to the sorter, where fragments are put in order that come before their first.

use std::collections::BTreeMap;

use vnet_common::policy::{Link, role, xdp};

use super::host::{Device, Host};
use super::instance::Instance;
use crate::fault::Fault;
use crate::spec::{self, Attach, Hook, sorter_device};

impl Device {
    /// Whether it is the near end of a cable to a sorter, finished or not.
    #[must_use]
    pub fn is_sorters(&self) -> bool {
        self.mac == vnet_common::fragment::SORTER_MAC
    }
}

/// Index of the near end of an instance's cable, if all of its sorter is there.
#[must_use]
pub fn sorter(name: &spec::Instance, host: &Host) -> Option<u32> {
    let (index, device) = host.by_name(&sorter_device(name))?;
    (device.is_sorters() && device.up && host.sorters.contains(name)).then_some(index)
}

/// Index that the near end has, or is to have; nothing where fragments are not to be sorted, or
/// cannot be.
pub(super) fn wanted(wish: &Attach, host: &Host) -> Option<u32> {
    if !wish.sort || host.unsortable.is_some() {
        return None;
    }
    let free = || host.devices.keys().next_back().map_or(1, |last| last + 1);
    Some(sorter(&wish.instance, host).unwrap_or_else(free))
}

/// The device that the near end is, or will be.
pub(super) fn device(wish: &Attach) -> Device {
    Device { name: sorter_device(&wish.instance), header: Some(14), ..Device::default() }
}

/// Somebody else's device that has the name of ours.
pub(super) fn clash(wish: &Attach, host: &Host) -> Option<Fault> {
    let name = sorter_device(&wish.instance);
    let (_, device) = host.by_name(&name).filter(|_| wish.sort)?;
    let what = "another use: vnet needs that name for the device to its sorter".to_owned();
    (!device.is_sorters()).then_some(Fault::Foreign { device: name, what })
}

/// The hooks of a device: what comes from the sorter is looked at, what goes there was before.
#[must_use]
pub fn hooks(link: &Link) -> &'static [Hook] {
    match link.xdp {
        _ if link.roles & role::SORTER != 0 => &[Hook::In],
        xdp::OFF => &Hook::TC,
        _ => &Hook::ALL,
    }
}

/// Whether there is something of a sorter that goes with this instance.
#[must_use]
pub fn has_sorter(found: &Instance, host: &Host) -> bool {
    let device = host.by_name(&sorter_device(&found.name));
    host.sorters.contains(&found.name) || device.is_some_and(|(_, device)| device.is_sorters())
}

/// What the user should know when fragments cannot be sorted.
#[must_use]
pub fn unsorted(wish: &Attach, host: &Host) -> Option<String> {
    let why = host.unsortable.as_ref().filter(|_| wish.sort)?;
    Some(format!(
        "fragments that come before the first one of their datagram are not put in order here \
         ({why}): they end as `fragment` and `fragment_in`"
    ))
}

/// Every hook of these links.
pub(super) fn all_hooks(links: &BTreeMap<u32, Link>) -> impl Iterator<Item = (u32, Hook)> + '_ {
    links.iter().flat_map(|(index, link)| hooks(link).iter().map(|hook| (*index, *hook)))
}
