//! Names: made here and recognised here, nowhere else. Only what bears such a name is ours.

use std::fmt;

use serde::Serialize;

use crate::fault::Fault;

/// Longest name the kernel gives a network device, in bytes.
const DEVICE_MAX: usize = 15;

/// The name of an instance: the directory its pins live in.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct Instance(String);

impl Instance {
    /// The name, if it is one.
    ///
    /// # Errors
    /// When it is empty, too long, or has other characters than `a-z 0-9 _ -`.
    pub fn parse(name: &str) -> Result<Self, Fault> {
        let plain = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-');
        if (1..=32).contains(&name.len()) && name.bytes().all(plain) {
            Ok(Self(name.to_owned()))
        } else {
            Err(Fault::InstanceName(name.to_owned()))
        }
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Instance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Where on a device a program sits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Hook {
    /// Where packets come in.
    In,
    /// Where packets leave.
    Out,
    /// Where packets come in, before the kernel has made packets of them.
    Xdp,
}

impl Hook {
    /// Every hook.
    pub const ALL: [Self; 3] = [Self::In, Self::Out, Self::Xdp];
    /// Those of traffic control, which every managed device has.
    pub const TC: [Self; 2] = [Self::In, Self::Out];

    /// The word for it in pins and in what people read.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::In => "in",
            Self::Out => "out",
            Self::Xdp => "xdp",
        }
    }
}

impl fmt::Display for Hook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// Name of the device that leads to an instance's sorter. A device's name is shorter than an
/// instance's may be, so it bears a number made from that (FNV-1a).
#[must_use]
pub fn sorter_device(instance: &Instance) -> String {
    let hash = |hash: u32, byte: u8| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193);
    let number = instance.0.bytes().fold(0x811c_9dc5, hash);
    format!("vnet-{number:08x}")
}

/// Name of the pin that keeps a program on a device. The index, not the name, is used, because
/// a device may be renamed while it is managed.
#[must_use]
pub fn link_pin(ifindex: u32, hook: Hook) -> String {
    format!("link_{ifindex}_{hook}")
}

/// Reads a name made by [`link_pin`].
#[must_use]
pub fn read_link_pin(name: &str) -> Option<(u32, Hook)> {
    let (ifindex, hook) = name.strip_prefix("link_")?.split_once('_')?;
    let hook = Hook::ALL.into_iter().find(|known| known.name() == hook)?;
    Some((ifindex.parse().ok()?, hook))
}

/// The name of a device, if it can be one (`dev_valid_name` in the kernel).
///
/// # Errors
/// When no device can have that name.
pub fn device_name(name: &str) -> Result<String, Fault> {
    let bad = |c: char| c == '/' || c == ':' || c.is_whitespace();
    let fits = (1..=DEVICE_MAX).contains(&name.len()) && name != "." && name != "..";
    if fits && !name.contains(bad) {
        Ok(name.to_owned())
    } else {
        Err(Fault::DeviceName(name.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instance_names() {
        let longest = "a".repeat(32);
        for good in ["default", "lab-1", "a_b", longest.as_str()] {
            assert_eq!(Instance::parse(good).map(|name| name.to_string()), Ok(good.to_owned()));
        }
        let too_long = "a".repeat(33);
        for bad in ["", "..", "a/b", "Big", "a b", too_long.as_str()] {
            assert_eq!(Instance::parse(bad), Err(Fault::InstanceName(bad.to_owned())));
        }
    }

    #[test]
    fn a_sorters_device_has_a_name_that_a_device_can_have() {
        for name in ["default", "other", &"a".repeat(32)] {
            let device = sorter_device(&Instance::parse(name).unwrap());
            assert_eq!(device_name(&device), Ok(device.clone()));
        }
    }

    #[test]
    fn link_pins_are_read_back() {
        for hook in Hook::ALL {
            assert_eq!(read_link_pin(&link_pin(17, hook)), Some((17, hook)));
        }
        for other in ["config", "prog_in", "link_x_in", "link_3_up", "link_3"] {
            assert_eq!(read_link_pin(other), None);
        }
    }

    #[test]
    fn device_names() {
        assert_eq!(device_name("eth0.100"), Ok("eth0.100".to_owned()));
        for bad in ["", "..", "a/b", "a b", "sixteen-bytes-xx"] {
            assert!(device_name(bad).is_err(), "{bad}");
        }
    }
}
