//! The XDP program on devices: put on, replaced, taken off, and tried.

use std::io::ErrorKind;
use std::thread;
use std::time::{Duration, Instant};

use aya::maps::xdp::DevMapHash;
use aya::maps::xdp::XdpMapError;
use aya::maps::{MapData, MapError};
use aya::programs::links::{FdLink, LinkError, PinnedLink};
use aya::programs::xdp::{XdpLink, XdpMode};
use aya::programs::{ProgramError, Xdp};
use aya_obj::programs::XdpAttachType;
use vnet_common::policy::{Config, Link, link_flag};

use super::error::Error;
use super::load::{Loaded, Sizes};
use super::maps::{Maps, absent_is_fine};
use super::pins::Pins;
use crate::spec::Hook;

/// How long a program that was taken off may take to be gone, and how often that is tried.
const GOES: Duration = Duration::from_secs(2);
const PAUSE: Duration = Duration::from_millis(10);

const fn mode(native: bool) -> XdpMode {
    if native { XdpMode::Driver } else { XdpMode::Skb }
}

/// The pinned program.
pub(super) fn from_pin(pins: &Pins) -> Result<Xdp, ProgramError> {
    Xdp::from_pin(pins.program(Hook::Xdp), XdpAttachType::Interface)
}

/// Puts a program on a device, and pins what keeps it there.
pub(super) fn attach(
    program: &mut Xdp,
    pins: &Pins,
    device: (u32, &str),
    native: bool,
) -> Result<(), Error> {
    let (index, name) = device;
    let fault = || format!("attach to {name} (xdp, {})", if native { "native" } else { "generic" });
    let link = put_on(program, index, native).map_err(|error| Error::hook(fault(), error))?;
    let kept = link.pin(pins.link(index, Hook::Xdp));
    kept.map(drop).map_err(|error| Error::hook(fault(), error))
}

/// Puts a program on a device. What was there before in another mode may take some time to go: the kernel
/// lets go of a link that was pinned when no processor looks at the pin any more (RCU).
fn put_on(program: &mut Xdp, index: u32, native: bool) -> Result<FdLink, String> {
    let end = Instant::now() + GOES;
    let attached = loop {
        match program.attach_to_if_index(index, mode(native)) {
            Err(error) if is_taken(&error) && Instant::now() < end => thread::sleep(PAUSE),
            attached => break attached,
        }
    };
    let link = attached.and_then(|id| program.take_link(id)).map_err(|error| chain(&error))?;
    FdLink::try_from(link).map_err(|error| error.to_string())
}

/// Whether another program is in the way (EEXIST for one of another mode, else EBUSY).
fn is_taken(error: &ProgramError) -> bool {
    const TAKEN: [ErrorKind; 2] = [ErrorKind::AlreadyExists, ErrorKind::ResourceBusy];
    matches!(error, ProgramError::SyscallError(error) if TAKEN.contains(&error.io_error.kind()))
}

/// An error with all of its causes: the last one is the kernel's.
fn chain(error: &dyn std::error::Error) -> String {
    let mut causes = vec![error.to_string()];
    let mut next = error.source();
    while let Some(cause) = next {
        causes.push(cause.to_string());
        next = cause.source();
    }
    causes.join(": ")
}

/// Replaces the program on a device, without a packet missing either.
pub(super) fn replace(program: &mut Xdp, pins: &Pins, device: (u32, &str)) -> Result<(), Error> {
    let (index, name) = device;
    let fault = || format!("replace the program on {name} (xdp)");
    let link = pinned_link(pins, index).map_err(|error| Error::hook(fault(), error))?;
    let replaced = program.attach_to_link(link).and_then(|id| program.take_link(id));
    // Its pin keeps it.
    replaced.map(drop).map_err(|error| Error::hook(fault(), error))
}

fn pinned_link(pins: &Pins, index: u32) -> Result<XdpLink, LinkError> {
    FdLink::from(PinnedLink::from_pin(pins.link(index, Hook::Xdp))?).try_into()
}

/// Why the kernel does not take the program on this device natively; nothing when it does. It is tried,
/// and taken off at once.
///
/// # Errors
/// When the program cannot be loaded.
pub fn why_no_xdp(index: u32) -> Result<Option<String>, Error> {
    const FEW: u32 = 16;
    let sizes = Sizes::from(&Config { max_flows: FEW, ..Config::DEFAULT });
    let mut loaded = Loaded::load(sizes, None)?;
    loaded.load_xdp()?;
    Ok(put_on(loaded.xdp()?, index, true).err())
}

/// Lets XDP send packets out by a device, or no longer.
pub(super) fn set_exit(maps: &Maps<'_>, index: u32, link: Option<&Link>) -> Result<(), Error> {
    let mut exits: DevMapHash<MapData> = maps.open("exits")?;
    if link.is_some_and(|link| link.flags & link_flag::EXIT != 0) {
        let put = exits.insert(index, index, None, 0);
        return put.map_err(|source| Error::map("write", "exits", source_of(source)));
    }
    absent_is_fine("exits", exits.remove(index))
}

fn source_of(error: XdpMapError) -> MapError {
    match error {
        XdpMapError::ChainedProgramNotSupported => MapError::ProgIdNotSupported,
        XdpMapError::MapError(error) => error,
    }
}
