//! Loading the object: maps made or found again, programs checked by the verifier, clock started.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;
use std::thread;

use aya::maps::MapError;
use aya::pin::PinError;
use aya::programs::{CgroupSockAddr, Program, ProgramError, SchedClassifier, Xdp};
use aya::{Ebpf, EbpfError, EbpfLoader, TestRun as _, TestRunOptions};
use tracing::debug;
use vnet_common::event::telling;
use vnet_common::forward::Order;
use vnet_common::policy::{Config, config_flag};
use vnet_common::translate::pool;

use super::calls;
use super::error::Error;
use super::object::OBJECT;
use super::pins::{MAPS, Pins};
use crate::spec::{Call, Hook};

/// Tickets beyond one for each connection: those that have become stale wait in the queue too.
const SPARE_TICKETS: u32 = 1024;
/// Most connections without an answer that are known in the order of their age.
const EMBRYONIC_MAX: u32 = 65_536;
/// Of so many connections, one is remembered for which there is no need to: a routed one, for its shortcut.
const PATHS_SHARE: u32 = 4;
/// At least so many.
const MIN_PATHS: u32 = 1024;
/// The program that arms the expiry timer.
const CLOCK: &str = "vnet_clock";
/// The program that carries out orders about ports.
const PORTS: &str = "vnet_ports";

/// What the maps and the programs are made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sizes {
    /// Connections to make room for.
    pub max_flows: u32,
    /// Outside addresses to make room for.
    pub addresses: u32,
    /// Level of the programs' log, 0 = off.
    pub log_level: u32,
    /// What is told of ([`telling`]).
    pub telling: u8,
}

impl From<&Config> for Sizes {
    fn from(config: &Config) -> Self {
        let Config { max_flows, addresses, log_level, .. } = *config;
        let telling = match (config.flags & config_flag::EVENTS, config.port_block) {
            (0, _) => telling::NOTHING,
            (_, 0) => telling::MAPPINGS,
            _ => telling::BLOCKS,
        };
        Self { max_flows, addresses, log_level, telling }
    }
}

/// The object, with its maps in the kernel; its programs, once they are loaded.
pub struct Loaded {
    ebpf: Ebpf,
}

impl Loaded {
    /// Makes the maps, or finds those that `pins` already has; without `pins` they live as long
    /// as the value.
    ///
    /// # Errors
    /// When the kernel refuses a map; `Memory` when there is no room for it.
    pub fn load(sizes: Sizes, pins: Option<&Pins>) -> Result<Self, Error> {
        let log_level = u8::try_from(sizes.log_level).unwrap_or(u8::MAX);
        let flows = sizes.max_flows;
        let mut loader = EbpfLoader::new();
        loader
            .override_global("AYA_LOG_LEVEL", &log_level, false)
            .override_global("VNET_LOG", &log_level, true)
            .override_global("VNET_EVENTS", &sizes.telling, true)
            .map_max_entries("flows4", flows.saturating_mul(2))
            .map_max_entries("mappings", flows)
            .map_max_entries("peers", flows)
            .map_max_entries("paths", (flows / PATHS_SHARE).max(MIN_PATHS))
            .map_max_entries("outsides", sizes.addresses)
            .map_max_entries("pools", sizes.addresses * pool::PER_ADDRESS)
            .map_max_entries("owners", (sizes.addresses * pool::PER_ADDRESS) << 16)
            .map_max_entries("tickets", flows.saturating_add(SPARE_TICKETS))
            .map_max_entries("embryonic", flows.clamp(1, EMBRYONIC_MAX));
        for name in pins.iter().flat_map(|_| MAPS) {
            if let Some(pins) = pins {
                loader.map_pin_path(name, pins.map(name));
            }
        }
        let ebpf = loader.load(OBJECT).map_err(|error| refused(error, flows))?;
        same_maps(ebpf.maps().map(|(name, _)| name))?;
        Ok(Self { ebpf })
    }

    /// Has the verifier check all programs; those of the hooks each on a processor of its own, for they
    /// are what takes time.
    ///
    /// # Errors
    /// When the kernel refuses one.
    pub fn load_programs(&mut self) -> Result<(), Error> {
        let names = Hook::ALL.map(program_name);
        thread::scope(|scope| {
            let ours = self.ebpf.programs_mut().filter_map(|(name, program)| {
                names.into_iter().find(|own| *own == name).map(|name| (name, program))
            });
            let load = |(name, program)| scope.spawn(move || load_one(name, program));
            let threads: Vec<_> = ours.map(load).collect();
            let panicked = |_| Error::Missing("programs that can be loaded".to_owned());
            threads.into_iter().try_for_each(|thread| thread.join().map_err(panicked)?)
        })?;
        self.load_program(CLOCK)?;
        self.load_orders()?;
        Call::ALL.into_iter().try_for_each(|call| self.load_call(call))
    }

    /// Has the verifier check the XDP program.
    ///
    /// # Errors
    /// When the kernel refuses it.
    pub fn load_xdp(&mut self) -> Result<(), Error> {
        checked(program_name(Hook::Xdp), self.xdp()?.load())
    }

    /// The XDP program.
    ///
    /// # Errors
    /// When the object has none.
    pub fn xdp(&mut self) -> Result<&mut Xdp, Error> {
        let name = program_name(Hook::Xdp);
        let missing = || Error::Missing(format!("program {name}"));
        let program = self.ebpf.program_mut(name).ok_or_else(missing)?;
        program.try_into().map_err(|_| Error::Missing(format!("XDP program {name}")))
    }

    fn load_call(&mut self, call: Call) -> Result<(), Error> {
        checked(calls::program_name(call), self.call(call)?.load())
    }

    /// Puts the loaded programs on the calls of this host's sockets, and takes them off at once.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn try_calls(&mut self) -> Result<(), Error> {
        let root = calls::root()?;
        for call in Call::ALL {
            drop(calls::put_on(self.call(call)?, call, &root)?);
        }
        Ok(())
    }

    fn call(&mut self, call: Call) -> Result<&mut CgroupSockAddr, Error> {
        let name = calls::program_name(call);
        let missing = || Error::Missing(format!("program {name}"));
        let program = self.ebpf.program_mut(name).ok_or_else(missing)?;
        program.try_into().map_err(|_| Error::Missing(format!("program {name} on a call")))
    }

    /// Has the verifier check the program that carries out orders.
    ///
    /// # Errors
    /// When the kernel refuses it.
    pub fn load_orders(&mut self) -> Result<(), Error> {
        self.load_program(PORTS)
    }

    fn load_program(&mut self, name: &'static str) -> Result<(), Error> {
        checked(name, self.program(name)?.load())
    }

    /// Arms the expiry timer, by running the program that does.
    ///
    /// # Errors
    /// When the kernel has no timers.
    pub fn start_clock(&mut self) -> Result<(), Error> {
        self.run_once(CLOCK, &[0; 64])?.map(drop).map_err(Error::Clock)
    }

    /// Has the datapath carry out an order, and returns what it answers.
    ///
    /// # Errors
    /// When it makes no sense to it.
    pub fn order(&mut self, order: &Order) -> Result<u32, Error> {
        let Order { what, pool, first, last, saddr, daddr, sport, dport, proto } = *order;
        let mut bytes = Vec::with_capacity(size_of::<Order>());
        bytes.extend([what, pool].map(u32::to_ne_bytes).concat());
        bytes.extend([first, last].map(u16::to_ne_bytes).concat());
        bytes.extend([saddr, daddr].concat());
        bytes.extend([sport, dport].map(u16::to_ne_bytes).concat());
        bytes.extend(proto.to_ne_bytes());
        self.run_once(PORTS, &bytes)?.map_err(|source| Error::Order { what, source })
    }

    /// Runs a program on these bytes; what it returns is a negative errno or an answer.
    fn run_once(&mut self, name: &'static str, bytes: &[u8]) -> Result<io::Result<u32>, Error> {
        let options = TestRunOptions { data_in: Some(bytes), ..TestRunOptions::new() };
        let run = self.program(name)?.test_run(options);
        let run = run.map_err(|source| Error::Program { program: name, source: source.into() })?;
        let code = run.return_value.cast_signed();
        Ok(match u32::try_from(code) {
            Ok(answer) => Ok(answer),
            Err(_) => Err(io::Error::from_raw_os_error(code.wrapping_neg())),
        })
    }

    /// A program of the object.
    ///
    /// # Errors
    /// When the object has none of that name.
    pub fn program(&mut self, name: &str) -> Result<&mut SchedClassifier, Error> {
        let missing = || Error::Missing(format!("program {name}"));
        let program = self.ebpf.program_mut(name).ok_or_else(missing)?;
        program.try_into().map_err(|_| Error::Missing(format!("classifier {name}")))
    }

    /// What aya made of the object, for tests that run its programs.
    pub fn ebpf(&mut self) -> &mut Ebpf {
        &mut self.ebpf
    }

    /// Pins the programs, each in one atomic step in the place of the former one.
    ///
    /// # Errors
    /// When a pin cannot be made.
    pub fn pin_programs(&mut self, pins: &Pins) -> Result<(), Error> {
        for hook in Hook::TC {
            pin(self.program(program_name(hook))?, pins, hook)?;
        }
        pin_xdp(self.xdp()?, pins)?;
        for call in Call::ALL {
            pin_call(self.call(call)?, pins, call)?;
        }
        Ok(())
    }
}

/// Has the verifier check one program of a hook.
fn load_one(name: &'static str, program: &mut Program) -> Result<(), Error> {
    if let Program::Xdp(program) = program {
        return checked(name, program.load());
    }
    let missing = |_| Error::Missing(format!("classifier {name}"));
    let program: &mut SchedClassifier = program.try_into().map_err(missing)?;
    checked(name, program.load())
}

/// Says which program the kernel refuses.
fn checked(name: &'static str, loaded: Result<(), ProgramError>) -> Result<(), Error> {
    loaded.map_err(|source| {
        debug!("{source}");
        Error::Program { program: name, source: source.into() }
    })
}

/// Whether the object has exactly the maps of [`MAPS`]: one that is not pinned would begin anew
/// with every change of the programs. (Names with a dot are the linker's own sections.)
fn same_maps<'a>(object: impl Iterator<Item = &'a str>) -> Result<(), Error> {
    let object: BTreeSet<_> = object.filter(|name| !name.starts_with('.')).collect();
    let known = BTreeSet::from(MAPS);
    if let Some(map) = object.difference(&known).next() {
        return Err(Error::UnknownMap((*map).to_owned()));
    }
    let lacks = known.difference(&object).next();
    lacks.map_or(Ok(()), |map| Err(Error::Missing(format!("map {map}"))))
}

/// Pins a loaded program in the place of whatever is pinned there.
pub(super) fn pin(program: &mut SchedClassifier, pins: &Pins, hook: Hook) -> Result<(), Error> {
    pin_by(|new| program.pin(new), pins, hook)
}

/// The same for the XDP program.
pub(super) fn pin_xdp(program: &mut Xdp, pins: &Pins) -> Result<(), Error> {
    pin_by(|new| program.pin(new), pins, Hook::Xdp)
}

fn pin_by(
    pin: impl FnOnce(&Path) -> Result<(), PinError>,
    pins: &Pins,
    hook: Hook,
) -> Result<(), Error> {
    let (new, place) = (pins.new_program(hook), pins.program(hook));
    super::pins::remove(&new)?;
    let doing = || format!("pin program {}", program_name(hook));
    pin(&new).map_err(|error| Error::hook(doing(), error))?;
    std::fs::rename(&new, &place).map_err(|error| Error::file("pin", &place, error))
}

/// The same for the program of a call.
pub(super) fn pin_call(program: &mut CgroupSockAddr, pins: &Pins, call: Call) -> Result<(), Error> {
    let (new, place) = (pins.new_call_program(call), pins.call_program(call));
    super::pins::remove(&new)?;
    let doing = || format!("pin program {}", calls::program_name(call));
    program.pin(&new).map_err(|error| Error::hook(doing(), error))?;
    std::fs::rename(&new, &place).map_err(|error| Error::file("pin", &place, error))
}

/// Name of the program for a hook.
pub(super) const fn program_name(hook: Hook) -> &'static str {
    match hook {
        Hook::In => "vnet_in",
        Hook::Out => "vnet_out",
        Hook::Xdp => "vnet_xdp",
    }
}

/// Tells a lack of memory from everything else. The kernel says so with three numbers: the size
/// overflows (E2BIG, EINVAL), or there is no such amount (ENOMEM).
fn refused(error: EbpfError, max_flows: u32) -> Error {
    const NO_ROOM: [Option<i32>; 3] = [Some(12), Some(7), Some(22)];
    if let EbpfError::MapError(MapError::CreateError { name, io_error }) = error {
        return if NO_ROOM.contains(&io_error.raw_os_error()) {
            Error::Memory { map: name, max_flows, source: io_error }
        } else {
            let error = MapError::CreateError { name, io_error };
            Error::Object(Box::new(EbpfError::MapError(error)))
        };
    }
    Error::Object(Box::new(error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_object_has_exactly_the_maps_that_are_pinned() {
        let object = aya_obj::Object::parse(OBJECT).unwrap();
        same_maps(object.maps.keys().map(String::as_str)).unwrap();
    }

    #[test]
    fn a_map_too_many_or_too_few_is_named() {
        let more = MAPS.into_iter().chain([".rodata", "spare"]);
        assert!(matches!(same_maps(more), Err(Error::UnknownMap(map)) if map == "spare"));
        let fewer = MAPS.into_iter().filter(|map| *map != "clock");
        assert!(matches!(same_maps(fewer), Err(Error::Missing(map)) if map == "map clock"));
    }
}
