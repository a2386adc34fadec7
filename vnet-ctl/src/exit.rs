//! How a command ends: the exit codes, stated here and nowhere else.
//!
//! Promise: a number keeps its meaning for ever; scripts may rely on it. `vnetctl --help` and the
//! man page print this table.

use std::fmt::Write as _;

/// What the exit code of `vnetctl` says.
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Exit {
    /// Done (for `doctor`: nothing fails).
    Ok = 0,
    /// Something went wrong that none of the others names.
    Unexpected = 1,
    /// The command line makes no sense.
    Usage = 2,
    /// Not allowed: capabilities are missing.
    Permission = 3,
    /// There is no such device.
    NoDevice = 4,
    /// The address cannot be used there.
    Address = 5,
    /// Somebody else has the device, the address or the instance.
    Busy = 6,
    /// The kernel lacks something that is needed.
    Unsupported = 7,
    /// No memory for the maps.
    Memory = 8,
    /// The maps were made by another version of vnet.
    Version = 9,
    /// Nothing is attached there, there is no such instance, or its log is off.
    NotAttached = 10,
    /// Another vnetctl is at work.
    Locked = 11,
}

impl Exit {
    /// Every code, in order.
    pub const ALL: [Self; 12] = [
        Self::Ok,
        Self::Unexpected,
        Self::Usage,
        Self::Permission,
        Self::NoDevice,
        Self::Address,
        Self::Busy,
        Self::Unsupported,
        Self::Memory,
        Self::Version,
        Self::NotAttached,
        Self::Locked,
    ];

    /// The number the process ends with.
    #[must_use]
    pub const fn code(self) -> u8 {
        self as u8
    }

    /// One word for it, as JSON errors carry it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Unexpected => "unexpected",
            Self::Usage => "usage",
            Self::Permission => "permission",
            Self::NoDevice => "no_device",
            Self::Address => "address",
            Self::Busy => "busy",
            Self::Unsupported => "unsupported",
            Self::Memory => "memory",
            Self::Version => "version",
            Self::NotAttached => "not_attached",
            Self::Locked => "locked",
        }
    }

    /// What it means, for people.
    #[must_use]
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::Ok => "done; for doctor: no check failed",
            Self::Unexpected => "something none of the others names",
            Self::Usage => "the command line makes no sense",
            Self::Permission => "not allowed: run as root, or with CAP_NET_ADMIN and CAP_SYS_ADMIN",
            Self::NoDevice => "no such device",
            Self::Address => "the device has no such address, or the address cannot be used",
            Self::Busy => "the device, address or instance is in somebody else's use",
            Self::Unsupported => "the kernel is too old or lacks the named feature",
            Self::Memory => "not enough memory for the maps",
            Self::Version => "the instance was made by another version of vnet",
            Self::NotAttached => "nothing is attached there, no such instance, or its log is off",
            Self::Locked => "another vnetctl is at work",
        }
    }

    /// The table of all codes, as help and man page show it.
    #[must_use]
    pub fn table() -> String {
        let mut table = String::from("Exit codes:\n");
        for exit in Self::ALL {
            // Writing to a String cannot fail.
            let _ = writeln!(table, "  {:>2}  {}", exit.code(), exit.meaning());
        }
        table
    }
}

impl From<Exit> for std::process::ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_names_and_order_agree() {
        for (number, exit) in Exit::ALL.into_iter().enumerate() {
            assert_eq!(usize::from(exit.code()), number);
            assert!(Exit::table().contains(exit.meaning()));
            assert_eq!(Exit::ALL.iter().filter(|other| other.name() == exit.name()).count(), 1);
        }
    }
}
