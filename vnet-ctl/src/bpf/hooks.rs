//! Programs on devices: put on, replaced, taken off, and looked at.

use std::fs;
use std::os::fd::AsRawFd as _;

use aya::programs::links::{FdLink, LinkError, PinnedLink};
use aya::programs::tc::{NlOptions, SchedClassifierLink, TcAttachOptions, TcHandle};
use aya::programs::{
    CgroupSockAddr, LinkOrder, MultiProgLink as _, ProgramError, SchedClassifier, TcAttachType, Xdp,
};

use super::calls;
use super::error::Error;
use super::load;
use super::pins::{Pins, remove};
use super::xdp;
use crate::spec::{Call, Hook};
use crate::state::{TcxProgram, Way};

/// Those of traffic control, with what the kernel calls them.
const TC: [(Hook, TcAttachType); 2] =
    [(Hook::In, TcAttachType::Ingress), (Hook::Out, TcAttachType::Egress)];

/// Whether the kernel has TCX: it is asked, not guessed by its version.
#[must_use]
pub fn has_tcx() -> bool {
    SchedClassifier::query_tcx("lo", TcAttachType::Ingress).is_ok()
}

/// Programs on the TCX hooks of a device.
///
/// # Errors
/// When the kernel does not tell.
pub fn tcx_programs(device: &str) -> Result<Vec<TcxProgram>, Error> {
    let mut programs = Vec::new();
    for (hook, kind) in TC {
        let doing = || format!("list the TCX programs of {device}");
        let found = SchedClassifier::query_tcx(device, kind);
        let (_, found) = found.map_err(|error| Error::hook(doing(), error))?;
        programs.extend(found.iter().map(|info| {
            let name = info.name_as_str().unwrap_or_default().to_owned();
            TcxProgram { hook, id: info.id(), name }
        }));
    }
    Ok(programs)
}

/// Id of the program of a TCX link, and the device it is on; 0 when that device is gone.
pub(super) fn link_facts(link: FdLink) -> Result<(u32, u32), LinkError> {
    let id = link.info()?.program_id();
    let link = SchedClassifierLink::try_from(link)?;
    let fdinfo = format!("/proc/self/fdinfo/{}", link.fd()?.as_raw_fd());
    let text = fs::read_to_string(fdinfo).unwrap_or_default();
    let at = text.lines().find_map(|line| line.strip_prefix("ifindex:")?.trim().parse().ok());
    Ok((id, at.unwrap_or(0)))
}

/// A program for a hook of a device.
enum Program {
    Tc(SchedClassifier, TcAttachType),
    Xdp(Xdp),
}

impl Program {
    fn from_pin(pins: &Pins, hook: Hook) -> Result<Self, ProgramError> {
        let kind = match hook {
            Hook::In => TcAttachType::Ingress,
            Hook::Out => TcAttachType::Egress,
            Hook::Xdp => return xdp::from_pin(pins).map(Self::Xdp),
        };
        Ok(Self::Tc(SchedClassifier::from_pin(pins.program(hook))?, kind))
    }

    fn pin(&mut self, pins: &Pins, hook: Hook) -> Result<(), Error> {
        match self {
            Self::Tc(program, _) => load::pin(program, pins, hook),
            Self::Xdp(program) => load::pin_xdp(program, pins),
        }
    }

    fn attach(&mut self, pins: &Pins, device: (u32, &str), at: (Hook, Way)) -> Result<(), Error> {
        match self {
            Self::Tc(program, kind) => attach_by(program, *kind, pins, device, at),
            Self::Xdp(program) => {
                xdp::attach(program, pins, device, at.1 == Way::Xdp { native: true })
            }
        }
    }

    fn replace(&mut self, pins: &Pins, device: (u32, &str), at: (Hook, Way)) -> Result<(), Error> {
        match self {
            Self::Tc(program, kind) => replace_by(program, *kind, pins, device, at),
            Self::Xdp(program) => xdp::replace(program, pins, device),
        }
    }
}

/// The programs that were pinned before others took their place, kept to put them back.
pub struct Former {
    programs: Vec<(Hook, Program)>,
    calls: Vec<(Call, CgroupSockAddr)>,
}

impl Former {
    /// Takes hold of what is pinned now.
    #[must_use]
    pub fn of(pins: &Pins) -> Self {
        let open = |hook| Some((hook, Program::from_pin(pins, hook).ok()?));
        let open_call = |call| {
            let kind = calls::attach_type(call);
            Some((call, CgroupSockAddr::from_pin(pins.call_program(call), kind).ok()?))
        };
        Self {
            programs: Hook::ALL.into_iter().filter_map(open).collect(),
            calls: Call::ALL.into_iter().filter_map(open_call).collect(),
        }
    }

    /// Pins them again.
    ///
    /// # Errors
    /// When a pin cannot be made.
    pub fn put_back(&mut self, pins: &Pins) -> Result<(), Error> {
        for (hook, program) in &mut self.programs {
            program.pin(pins, *hook)?;
        }
        for (call, program) in &mut self.calls {
            load::pin_call(program, pins, *call)?;
        }
        // Those on the calls are the pinned ones of a moment ago.
        let led = Call::ALL.into_iter().any(|call| pins.call(call).exists());
        if led { calls::attach_calls(pins) } else { Ok(()) }
    }

    fn program(&mut self, hook: Hook) -> Option<&mut Program> {
        self.programs.iter_mut().find(|(own, _)| *own == hook).map(|(_, program)| program)
    }

    /// Puts the former program on a hook again.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn attach(
        &mut self,
        pins: &Pins,
        device: (u32, &str),
        hook: Hook,
        way: Way,
    ) -> Result<(), Error> {
        self.program(hook).map_or(Ok(()), |program| program.attach(pins, device, (hook, way)))
    }

    /// Puts the former program back on a hook.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn replace(
        &mut self,
        pins: &Pins,
        device: (u32, &str),
        hook: Hook,
        way: Way,
    ) -> Result<(), Error> {
        self.program(hook).map_or(Ok(()), |program| program.replace(pins, device, (hook, way)))
    }
}

fn pinned(pins: &Pins, hook: Hook) -> Result<Program, Error> {
    let doing = || format!("open the pinned program for {hook}");
    Program::from_pin(pins, hook).map_err(|error| Error::hook(doing(), error))
}

/// Puts the pinned program on a hook of a device (its index and name).
///
/// # Errors
/// When the kernel refuses.
pub fn attach(pins: &Pins, device: (u32, &str), hook: Hook, way: Way) -> Result<(), Error> {
    pinned(pins, hook)?.attach(pins, device, (hook, way))
}

fn attach_by(
    program: &mut SchedClassifier,
    kind: TcAttachType,
    pins: &Pins,
    device: (u32, &str),
    at: (Hook, Way),
) -> Result<(), Error> {
    let ((index, name), (hook, way)) = (device, at);
    let doing = || format!("attach to {name} ({hook}, {way})");
    let options = match way {
        Way::Clsact { priority, handle } => TcAttachOptions::Netlink(options(priority, handle)),
        Way::Tcx | Way::Xdp { .. } => TcAttachOptions::TcxOrder(LinkOrder::default()),
    };
    let attached = program.attach_with_options(name, kind, options);
    let link = attached.and_then(|id| program.take_link(id));
    let link = link.map_err(|error| Error::hook(doing(), error))?;
    if let Way::Clsact { .. } = way {
        keep(link);
        return Ok(());
    }
    let link = FdLink::try_from(link).map_err(|error| Error::hook(doing(), error))?;
    let kept = link.pin(pins.link(index, hook));
    kept.map(drop).map_err(|error| Error::hook(doing(), error))
}

/// Replaces the program on a hook by the pinned one, without a packet missing either.
///
/// # Errors
/// When the kernel refuses.
pub fn replace(pins: &Pins, device: (u32, &str), hook: Hook, way: Way) -> Result<(), Error> {
    pinned(pins, hook)?.replace(pins, device, (hook, way))
}

fn replace_by(
    program: &mut SchedClassifier,
    kind: TcAttachType,
    pins: &Pins,
    device: (u32, &str),
    at: (Hook, Way),
) -> Result<(), Error> {
    let (hook, way) = at;
    let doing = || format!("replace the program on {} ({hook}, {way})", device.1);
    let link = match way {
        Way::Clsact { priority, handle } => {
            let NlOptions { handle, .. } = options(priority, handle);
            SchedClassifierLink::attached(device.1, kind, priority, handle, None)
                .map_err(|error| Error::hook(doing(), error))?
        }
        Way::Tcx | Way::Xdp { .. } => {
            pinned_link(pins, device.0, hook).map_err(|error| Error::hook(doing(), error))?
        }
    };
    let replaced = program.attach_to_link(link).and_then(|id| program.take_link(id));
    let link = replaced.map_err(|error: ProgramError| Error::hook(doing(), error))?;
    match way {
        Way::Clsact { .. } => keep(link),
        // Its pin keeps it; an open file would too, as long as this process lives.
        Way::Tcx | Way::Xdp { .. } => drop(link),
    }
    Ok(())
}

fn pinned_link(pins: &Pins, index: u32, hook: Hook) -> Result<SchedClassifierLink, LinkError> {
    FdLink::from(PinnedLink::from_pin(pins.link(index, hook))?).try_into()
}

fn options(priority: u16, handle: u32) -> NlOptions {
    NlOptions { priority, handle: TcHandle::from(handle), classid: None }
}

/// Lets go of a link without taking its program off: aya detaches what is dropped.
fn keep(link: SchedClassifierLink) {
    std::mem::forget(link);
}

/// Takes a TCX or XDP program off by removing the pin of its link. (A filter is taken off by netlink.)
///
/// # Errors
/// When the pin cannot be removed.
pub fn detach(pins: &Pins, index: u32, hook: Hook) -> Result<(), Error> {
    let pin = pins.link(index, hook);
    // The kernel takes it off at once when a file is closed, and some time later when a pin goes;
    // until then the same program is refused there.
    let link = PinnedLink::from_pin(&pin);
    let removed = remove(&pin);
    drop(link);
    removed
}
