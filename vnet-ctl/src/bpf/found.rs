//! Reading an instance back from its pins.

use std::collections::BTreeMap;
use std::io::ErrorKind::NotFound;
use std::path::Path;

use aya::maps::MapInfo;
use aya::programs::ProgramInfo;
use aya::programs::links::{FdLink, LinkError, PinnedLink};
use vnet_common::policy::{Config, role};
use vnet_common::{CARRIED_LAYOUT, LAYOUT_VERSION};

use super::error::{Error, is_absent, is_other_layout};
use super::hooks;
use super::maps::Maps;
use super::pins::{MAPS, Pins};
use super::{calls, carry};
use crate::spec::{self, Call, Hook};
use crate::state::{Found, Instance, Layout, Running};

/// An instance as its pins show it. Hooks by `clsact` have no pins: they are found by netlink.
#[derive(Clone, Debug)]
pub struct Pinned {
    /// What it turned out to be.
    pub found: Found,
    /// Kernel ids of the pinned programs.
    pub programs: BTreeMap<Hook, u32>,
}

/// Reads the instance of that name; `None` when it has no directory.
///
/// # Errors
/// When the pins cannot be looked at.
pub fn read(name: &spec::Instance) -> Result<Option<Pinned>, Error> {
    let pins = Pins::of(name);
    if !pins.dir().is_dir() {
        return Ok(None);
    }
    let mut instance = Instance::empty(name.clone());
    let maps = Maps::of(&pins);
    let infos: BTreeMap<_, _> =
        Hook::ALL.into_iter().filter_map(|hook| Some((hook, program(&pins, hook)?))).collect();
    let programs = infos.iter().map(|(hook, info)| (*hook, info.id())).collect();
    let of_calls: BTreeMap<_, _> =
        Call::ALL.into_iter().filter_map(|call| Some((call, of_call(&pins, call)?))).collect();
    let ids = of_calls.iter().map(|(call, info)| (*call, info.id())).collect();
    instance.calls = calls::running(&pins, &ids);
    instance.programs = infos.len() == Hook::ALL.len() && of_calls.len() == Call::ALL.len();
    for (index, hook) in pins.links()? {
        if let Some((id, running)) = link(&pins, index, hook, &programs)? {
            instance.ids.insert(id);
            instance.hooks.insert((index, hook), running);
        }
    }
    let odd = fill(&mut instance, &maps)?;
    let missing = MAPS.iter().any(|map| !exists(&pins.map(map)));
    let version = instance.config.version;
    instance.layout = match version {
        CARRIED_LAYOUT..LAYOUT_VERSION if odd.is_none() => Layout::Older,
        _ if carry::is_under_way(&pins) => Layout::Mixed,
        _ => Layout::Own,
    };
    let instance = Box::new(instance);
    let found = match (odd, missing, version) {
        (Some(odd), _, _) => Found::Other(instance, odd),
        (None, _, 0) | (None, true, LAYOUT_VERSION) => Found::HalfMade(instance),
        (None, false, LAYOUT_VERSION) => Found::Whole(instance),
        (None, _, version) => Found::Other(instance, format!("layout {version}")),
    };
    Ok(Some(Pinned { found, programs }))
}

/// Reads what is there; says so when a record has another size than ours.
fn fill(instance: &mut Instance, maps: &Maps<'_>) -> Result<Option<String>, Error> {
    let mut odd = None;
    let unset = Config { version: 0, netns: 0, ..Config::DEFAULT };
    instance.config = or_default(maps.config(), &mut odd)?.unwrap_or(unset);
    instance.links = or_default(maps.links(), &mut odd)?.unwrap_or_default();
    instance.outsides = or_default(maps.outsides(), &mut odd)?.unwrap_or_default();
    for link in instance.links.values_mut().filter(|link| link.roles & role::UPLINK != 0) {
        // The datapath follows the uplink's address in `outsides`.
        link.addr = instance.outsides.get(&link.outside).map_or(link.addr, |outside| outside.addr);
    }
    instance.sources = or_default(maps.sources(), &mut odd)?.unwrap_or_default();
    instance.exclusions = or_default(maps.exclusions(), &mut odd)?.unwrap_or_default();
    instance.prefixes6 = or_default(maps.prefixes6(), &mut odd)?.unwrap_or_default();
    instance.uplinks6 = or_default(maps.uplinks6(), &mut odd)?.unwrap_or_default();
    let forwarding = or_default(maps.forwarding(&instance.outsides), &mut odd)?;
    instance.forwarding = forwarding.unwrap_or_default();
    instance.sysctls = or_default(maps.sysctls(), &mut odd)?.unwrap_or_default();
    Ok(odd)
}

/// A map that is not there reads as empty, and one of another layout is noted.
fn or_default<T>(read: Result<T, Error>, odd: &mut Option<String>) -> Result<Option<T>, Error> {
    match read {
        Ok(value) => Ok(Some(value)),
        Err(Error::Map { map, source, .. }) if is_other_layout(&source) => {
            *odd = Some(format!("map {map} has other records"));
            Ok(None)
        }
        Err(Error::Map { source, .. }) if is_absent(&source) => Ok(None),
        Err(error) => Err(error),
    }
}

fn exists(path: &Path) -> bool {
    MapInfo::from_pin(path).is_ok()
}

fn program(pins: &Pins, hook: Hook) -> Option<ProgramInfo> {
    ProgramInfo::from_pin(pins.program(hook)).ok()
}

fn of_call(pins: &Pins, call: Call) -> Option<ProgramInfo> {
    ProgramInfo::from_pin(pins.call_program(call)).ok()
}

/// Id of the program on a pinned link, and what that means; `None` when it was just removed.
fn link(
    pins: &Pins,
    index: u32,
    hook: Hook,
    programs: &BTreeMap<Hook, u32>,
) -> Result<Option<(u32, Running)>, Error> {
    let doing = || format!("look at the link of device {index} ({hook})");
    let link = match PinnedLink::from_pin(pins.link(index, hook)) {
        Ok(link) => FdLink::from(link),
        Err(LinkError::SyscallError(error)) if error.io_error.kind() == NotFound => {
            return Ok(None);
        }
        Err(error) => return Err(Error::hook(doing(), error)),
    };
    let facts = match hook {
        Hook::In | Hook::Out => hooks::link_facts(link),
        // Whether its device is there can be seen by netlink only.
        Hook::Xdp => link.info().map(|info| (info.program_id(), index)),
    };
    let (id, at) = facts.map_err(|error| Error::hook(doing(), error))?;
    let running = match at {
        0 => Running::Gone,
        _ if programs.get(&hook) == Some(&id) => Running::Current,
        _ => Running::Old,
    };
    Ok(Some((id, running)))
}
