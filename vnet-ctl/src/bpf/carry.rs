//! Taking over the maps of an older layout: what is the same stays and goes on being used by both, what is
//! not is made anew beside it.
//!
//! The former maps keep a pin until no program uses them any more, so that whatever ends the command in
//! between, the next one finds what it needs: a map that is pinned under its own name is complete.

use std::fs;
use std::path::Path;

use aya::maps::{Map, MapData, MapError, MapInfo, PerCpuArray};
use vnet_common::account::Counter;

use super::error::Error;
use super::load::{Loaded, Sizes};
use super::pins::{MAPS, Pins, remove};

/// What the pin of a map begins with that another one has taken the place of.
const FORMER: &str = "former_";
/// The same of one that is not complete yet.
const NEXT: &str = "next_";

/// Maps that may begin anew: what one packet, or one second, needs.
const ANEW: [&str; 8] =
    ["desk", "answers", "syns", "fragments", "strays", "fragments6", "strays6", "AYA_LOGS"];
/// Ends of packets, of which there are more from one layout to the next.
const COUNTERS: &str = "counters";

/// What [`carry`] has done, to be put back.
#[derive(Debug, Default)]
pub struct Carried {
    /// Maps that were not there before.
    made: Vec<&'static str>,
    /// Maps that another one has taken the place of.
    replaced: Vec<&'static str>,
    /// Those of them whose pins are gone.
    kept: Vec<(&'static str, MapData)>,
}

/// Whether former maps are still pinned.
pub(super) fn is_under_way(pins: &Pins) -> bool {
    MAPS.iter().any(|map| former(pins, map).exists())
}

/// Makes the maps those of this layout, where that can be without a loss.
///
/// # Errors
/// When a map that must not begin anew has other records; then nothing was changed.
pub fn carry(pins: &Pins, sizes: Sizes) -> Result<Carried, Error> {
    let mut loaded = Loaded::load(Sizes { log_level: 0, telling: 0, ..sizes }, None)?;
    let result = replace(pins, loaded.ebpf().maps().filter_map(known));
    for map in MAPS {
        remove(&next(pins, map))?;
    }
    result
}

/// One of those that are pinned.
fn known<'a>((name, map): (&str, &'a Map)) -> Option<(&'static str, &'a Map)> {
    MAPS.into_iter().find(|known| *known == name).map(|known| (known, map))
}

fn replace<'a>(
    pins: &Pins,
    maps: impl Iterator<Item = (&'static str, &'a Map)>,
) -> Result<Carried, Error> {
    let mut other = Vec::new();
    for (name, map) in maps {
        let place = next(pins, name);
        remove(&place)?;
        map.pin(&place).map_err(|error| Error::hook(format!("pin map {name}"), error))?;
        if shape(&pins.map(name)) == shape(&place) {
            continue;
        }
        let there = pins.map(name).exists();
        if there && name != COUNTERS && !ANEW.contains(&name) {
            return Err(Error::OtherRecords(name.to_owned()));
        }
        other.push((name, there));
    }
    let mut carried = Carried::default();
    for (name, there) in other {
        let (place, former) = (pins.map(name), former(pins, name));
        if there {
            // Both names have it until the next one takes the place: there is always one.
            remove(&former)?;
            fs::hard_link(&place, &former)
                .map_err(|error| Error::file("pin a second time", &place, error))?;
        } else if !former.exists() {
            carried.made.push(name);
        }
        if name == COUNTERS && former.exists() {
            copy_counters(&former, &next(pins, name))?;
        }
        rename(&next(pins, name), &place)?;
        carried.replaced.push(name);
    }
    Ok(carried)
}

/// Counts on from what the former programs have counted since: the last moment before others do.
///
/// # Errors
/// When the counters cannot be read or written.
pub fn carry_counters(pins: &Pins, carried: &Carried) -> Result<(), Error> {
    if carried.replaced.contains(&COUNTERS) && former(pins, COUNTERS).exists() {
        copy_counters(&former(pins, COUNTERS), &pins.map(COUNTERS))?;
    }
    Ok(())
}

/// Puts the former maps back in their places.
///
/// # Errors
/// When a pin cannot be moved.
pub fn put_back(pins: &Pins, carried: &mut Carried) -> Result<(), Error> {
    for (name, map) in carried.kept.drain(..) {
        let doing = || format!("pin map {name} again");
        map.pin(former(pins, name)).map_err(|error| Error::hook(doing(), error))?;
    }
    for name in carried.made.drain(..) {
        remove(&pins.map(name))?;
    }
    for name in carried.replaced.drain(..) {
        let former = former(pins, name);
        if former.exists() {
            rename(&former, &pins.map(name))?;
        }
    }
    Ok(())
}

/// Lets go of the former maps, but for who may have to put them back.
///
/// # Errors
/// When a pin cannot be removed.
pub fn forget_former(pins: &Pins, carried: &mut Carried) -> Result<(), Error> {
    for name in MAPS {
        let former = former(pins, name);
        if carried.replaced.contains(&name)
            && let Ok(map) = MapData::from_pin(&former)
        {
            carried.kept.push((name, map));
        }
        remove(&former)?;
        remove(&next(pins, name))?;
    }
    Ok(())
}

fn former(pins: &Pins, map: &str) -> std::path::PathBuf {
    pins.map(&format!("{FORMER}{map}"))
}

fn next(pins: &Pins, map: &str) -> std::path::PathBuf {
    pins.map(&format!("{NEXT}{map}"))
}

fn rename(from: &Path, to: &Path) -> Result<(), Error> {
    fs::rename(from, to).map_err(|error| Error::file("move pin", from, error))
}

/// What two maps have in common that either can stand for the other: kind, sizes, flags.
fn shape(pin: &Path) -> Option<[u32; 5]> {
    let info = MapInfo::from_pin(pin).ok()?;
    let kind = info.map_type().map_or(0, |kind| kind as u32);
    let sizes = [info.key_size(), info.value_size(), info.max_entries(), info.map_flags()];
    Some([kind, sizes[0], sizes[1], sizes[2], sizes[3]])
}

fn copy_counters(from: &Path, to: &Path) -> Result<(), Error> {
    let copy = || {
        let open = |pin| MapData::from_pin(pin).and_then(Map::from_map_data);
        let from: PerCpuArray<MapData, Counter> = open(from)?.try_into()?;
        let mut to: PerCpuArray<MapData, Counter> = open(to)?.try_into()?;
        for index in 0..from.len().min(to.len()) {
            to.set(index, from.get(&index, 0)?, 0)?;
        }
        Ok::<_, MapError>(())
    };
    copy().map_err(|source| Error::map("copy", COUNTERS, source))
}
