//! Which devices have an XDP program, in which mode, and which ones XDP may send packets out by.

use std::collections::BTreeMap;
use std::fmt;

use vnet_common::policy::{Link, link_flag, role, xdp};

use super::host::{Device, Host};
use super::inside::named;
use crate::fault::Fault;
use crate::spec::{Attach, Xdp};

/// Bytes of an Ethernet header, the only one that XDP knows.
const ETHERNET: u32 = 14;

/// Why a device has no XDP program.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Without {
    /// It is no Ethernet device, or a VLAN device.
    Link,
    /// Somebody else's program is there.
    Taken(u32),
    /// The kernel does not tell what the driver can do.
    Untold,
    /// The driver cannot.
    Driver,
    /// VLAN devices are on it, whose tags hardware may have taken off before XDP looks.
    Vlans,
    /// It is a bond.
    Bond,
    /// Who sends to it is on this machine too.
    Unfinished,
    /// It was tried, and the kernel refused.
    Refused(String),
}

impl fmt::Display for Without {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Link => f.write_str("XDP needs an Ethernet device that is not a VLAN's"),
            Self::Taken(id) => write!(f, "somebody else has an XDP program there (id {id})"),
            Self::Untold => f.write_str(
                "this kernel does not tell what drivers can do with XDP (Linux 6.3 does)",
            ),
            Self::Driver => f.write_str("its driver does not run XDP programs that redirect"),
            Self::Vlans => f.write_str(
                "there are VLAN devices on it, and tags may be beside the frames when XDP looks",
            ),
            Self::Bond => f.write_str(
                "it is a bond, whose program runs on its members, where nothing is known of it",
            ),
            Self::Unfinished => f.write_str(
                "who sends to it is on this machine too, gains from large packets, and leaves checksums unfinished",
            ),
            Self::Refused(why) => write!(f, "the kernel refuses: {why}"),
        }
    }
}

/// The mode of a device's program.
fn mode(wish: &Attach, host: &Host, index: u32, device: &Device) -> Result<u8, Without> {
    if wish.xdp == Xdp::Off || wish.no_shortcut.contains(&device.name) {
        return Ok(xdp::OFF);
    }
    if device.header != Some(ETHERNET) {
        return Err(Without::Link);
    }
    let others = |owner: &Option<_>| owner.as_ref() != Some(&wish.instance);
    if let Some(program) = device.xdp.program.as_ref().filter(|program| others(&program.owner)) {
        return Err(Without::Taken(program.id));
    }
    if device.xdp.vlans {
        return Err(Without::Vlans);
    }
    if wish.xdp == Xdp::Generic {
        return Ok(xdp::GENERIC);
    }
    if device.xdp.bond {
        return Err(Without::Bond);
    }
    let driver = device.xdp.driver.ok_or(Without::Untold)?;
    match host.xdp_refused.get(&index) {
        _ if !driver.redirects => Err(Without::Driver),
        _ if wish.xdp == Xdp::Auto && device.xdp.unfinished => Err(Without::Unfinished),
        Some(why) => Err(Without::Refused(why.clone())),
        None => Ok(xdp::NATIVE),
    }
}

/// Whether XDP may send packets out there: the driver can, and nobody waits for them on the way that
/// XDP does not take.
fn is_exit(wish: &Attach, host: &Host, index: u32, device: &Device) -> bool {
    let can = match wish.xdp {
        Xdp::Off => false,
        Xdp::Generic => true,
        Xdp::Auto | Xdp::Native => device.xdp.driver.is_some_and(|driver| driver.sends),
    };
    let shaped = host.tc.get(&index).is_some_and(|tc| tc.shaped);
    can && !shaped
        && !device.needs_route
        && device.header == Some(ETHERNET)
        && !host.foreign.contains(&index)
}

/// Gives links what XDP needs to know of them.
pub(super) fn dress(wish: &Attach, host: &Host, links: &mut BTreeMap<u32, Link>) {
    for (index, link) in links.iter_mut().filter(|(_, link)| link.roles & role::SORTER == 0) {
        let Some(device) = host.devices.get(index) else { continue };
        link.mac = device.mac;
        link.xdp = mode(wish, host, *index, device).unwrap_or(xdp::OFF);
        if is_exit(wish, host, *index, device) {
            link.flags |= link_flag::EXIT;
        }
    }
}

/// The devices where the kernel has to be asked whether it takes a program natively: the wish wants one,
/// and nothing known speaks against it. Those that have ours do.
#[must_use]
pub fn untried(wish: &Attach, host: &Host, indexes: &[u32]) -> Vec<u32> {
    let native = |index: &&u32| {
        let Some(device) = host.devices.get(index) else { return false };
        device.xdp.program.is_none() && mode(wish, host, **index, device) == Ok(xdp::NATIVE)
    };
    indexes.iter().filter(native).copied().collect()
}

/// Named devices where XDP was asked for by its mode, and cannot be.
#[must_use]
pub fn xdp_faults(wish: &Attach, host: &Host) -> Vec<Fault> {
    if wish.xdp == Xdp::Auto {
        return Vec::new();
    }
    let fault = |name: &str| {
        let (index, device) = host.by_name(name)?;
        let (why, device) = (mode(wish, host, index, device).err()?, name.to_owned());
        Some(if let Without::Taken(id) = why {
            Fault::Foreign { device, what: format!("an XDP program (id {id})") }
        } else {
            Fault::Xdp { device, mode: wish.xdp.name(), why: why.to_string() }
        })
    };
    named(wish).filter_map(fault).collect()
}

/// What the user should know about devices that have no XDP program though it was asked for.
#[must_use]
pub fn xdp_notes(wish: &Attach, host: &Host, links: &[u32]) -> Vec<String> {
    let note = |index: &u32| {
        let device = host.devices.get(index)?;
        let why = mode(wish, host, *index, device).err()?;
        let name = &device.name;
        Some(format!("--xdp {}: device '{name}' goes without ({why})", wish.xdp.name()))
    };
    links.iter().filter_map(note).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::{self, Words};
    use crate::state::{Driver, XdpProgram};

    fn wish(mode: &str) -> Attach {
        let (nat, instance) = (vec!["eth0".into()], "default".into());
        let words = Words { nat, instance, xdp: Some(mode.into()), ..Words::default() };
        Attach::parse(&words).unwrap()
    }

    fn device() -> Device {
        let driver = Some(Driver { redirects: true, sends: true });
        let xdp = super::super::host::DeviceXdp { driver, ..Default::default() };
        Device { name: "eth0".into(), header: Some(14), xdp, ..Device::default() }
    }

    fn try_on(wish: &Attach, change: impl FnOnce(&mut Host, &mut Device)) -> Result<u8, Without> {
        let (mut host, mut device) = (Host::default(), device());
        change(&mut host, &mut device);
        mode(wish, &host, 2, &device)
    }

    #[test]
    fn a_device_that_can_has_what_was_asked_for() {
        for (asked, got) in [("off", xdp::OFF), ("native", xdp::NATIVE), ("generic", xdp::GENERIC)]
        {
            assert_eq!(try_on(&wish(asked), |_, _| ()), Ok(got));
        }
        assert_eq!(try_on(&wish("auto"), |_, _| ()), Ok(xdp::NATIVE));
    }

    #[test]
    fn every_obstacle_has_its_reason() {
        let other = XdpProgram { id: 7, generic: false, owner: None };
        let ours = XdpProgram {
            id: 8,
            generic: false,
            owner: Some(spec::Instance::parse("default").unwrap()),
        };
        let native = wish("native");
        let program = |program| move |_: &mut Host, d: &mut Device| d.xdp.program = Some(program);
        assert_eq!(try_on(&native, program(other)), Err(Without::Taken(7)));
        assert_eq!(try_on(&native, program(ours)), Ok(xdp::NATIVE));
        assert_eq!(try_on(&native, |_, d| d.header = Some(0)), Err(Without::Link));
        assert_eq!(try_on(&native, |_, d| d.xdp.driver = None), Err(Without::Untold));
        let deaf = Driver { redirects: false, sends: false };
        assert_eq!(try_on(&native, |_, d| d.xdp.driver = Some(deaf)), Err(Without::Driver));
        assert_eq!(try_on(&native, |_, d| d.xdp.vlans = true), Err(Without::Vlans));
        assert_eq!(try_on(&wish("generic"), |_, d| d.xdp.vlans = true), Err(Without::Vlans));
        assert_eq!(try_on(&native, |_, d| d.xdp.bond = true), Err(Without::Bond));
        assert_eq!(try_on(&wish("auto"), |_, d| d.xdp.bond = true), Err(Without::Bond));
        assert_eq!(try_on(&wish("generic"), |_, d| d.xdp.bond = true), Ok(xdp::GENERIC));
        let refused = |host: &mut Host, _: &mut Device| {
            host.xdp_refused.insert(2, "no".into());
        };
        assert_eq!(try_on(&native, refused), Err(Without::Refused("no".into())));
        assert_eq!(try_on(&native, |_, d| d.xdp.unfinished = true), Ok(xdp::NATIVE));
        assert_eq!(try_on(&wish("auto"), |_, d| d.xdp.unfinished = true), Err(Without::Unfinished));
    }

    #[test]
    fn what_is_named_is_refused_and_the_rest_is_told() {
        let mut host = Host::default();
        let mut deaf = device();
        deaf.xdp.driver = Some(Driver { redirects: false, sends: false });
        host.devices.insert(2, deaf);
        assert!(matches!(xdp_faults(&wish("native"), &host)[..], [Fault::Xdp { .. }]));
        assert_eq!(xdp_faults(&wish("auto"), &host), []);
        assert_eq!(xdp_notes(&wish("auto"), &host, &[2]).len(), 1);
        assert_eq!(xdp_notes(&wish("generic"), &host, &[2]), [""; 0]);
    }

    #[test]
    fn packets_leave_by_xdp_only_where_nobody_waits_for_them() {
        let exit = |wish: &Attach, change: fn(&mut Host, &mut Device)| {
            let (mut host, mut device) = (Host::default(), device());
            host.tc.insert(2, super::super::host::Tc::default());
            change(&mut host, &mut device);
            is_exit(wish, &host, 2, &device)
        };
        let native = wish("native");
        assert!(exit(&native, |_, _| ()));
        assert!(!exit(&wish("off"), |_, _| ()));
        assert!(!exit(&native, |_, d| d.xdp.driver = None));
        assert!(exit(&wish("generic"), |_, d| d.xdp.driver = None));
        assert!(!exit(&native, |host, _| host.tc.get_mut(&2).unwrap().shaped = true));
        assert!(!exit(&native, |host, _| _ = host.foreign.insert(2)));
        assert!(!exit(&native, |_, d| d.header = Some(0)));
    }
}
