//! The way a program sits on a device.

use std::fmt;

use vnet_common::policy::{Link, xdp};

use crate::spec::Hook;

/// How a program sits on a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// By a pinned TCX link.
    Tcx,
    /// By a filter of the `clsact` qdisc.
    Clsact {
        /// Its priority.
        priority: u16,
        /// Its handle.
        handle: u32,
    },
    /// By a pinned XDP link.
    Xdp {
        /// Whether the driver runs it.
        native: bool,
    },
}

impl Way {
    /// The way a link's record asks for.
    #[must_use]
    pub fn of(link: &Link, hook: Hook) -> Self {
        let handle = match hook {
            Hook::In => link.filter_in,
            Hook::Out => link.filter_out,
            Hook::Xdp => return Self::Xdp { native: link.xdp == xdp::NATIVE },
        };
        match u16::try_from(link.filter_priority) {
            Ok(priority) if priority > 0 => Self::Clsact { priority, handle },
            Ok(_) | Err(_) => Self::Tcx,
        }
    }
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcx => f.write_str("tcx"),
            Self::Xdp { native: true } => f.write_str("native"),
            Self::Xdp { native: false } => f.write_str("generic"),
            Self::Clsact { priority, handle } => {
                write!(f, "clsact pref {priority} handle {handle:#x}")
            }
        }
    }
}
