//! The exit code each fault leads to.

use super::Fault;
use crate::exit::Exit;

impl Fault {
    /// The exit code it leads to.
    #[must_use]
    pub const fn exit(&self) -> Exit {
        match self {
            Self::InstanceName(_)
            | Self::DeviceName(_)
            | Self::Ports(_)
            | Self::AddressWord(_)
            | Self::Inside(_)
            | Self::HostBits { .. }
            | Self::InsideIsUplink(_)
            | Self::Number { .. }
            | Self::LogLevel(_)
            | Self::Refresh(_)
            | Self::File { .. }
            | Self::Syslog(_)
            | Self::Fragments(_)
            | Self::TooManyAddresses { .. }
            | Self::LowPorts(_)
            | Self::Filtering(_)
            | Self::BlocksOfWhom
            | Self::BlocksAndLowPorts
            | Self::Address6Alone
            | Self::ManyAddresses6
            | Self::Word { .. }
            | Self::DetachWhat => Exit::Usage,
            Self::Forward(fault) => fault.exit(),
            Self::Permission { .. } => Exit::Permission,
            Self::NoDevice { .. } => Exit::NoDevice,
            Self::NoAddress(_)
            | Self::AddressNotThere { .. }
            | Self::NoAddress6(_)
            | Self::Address6NotThere { .. }
            | Self::Blocks { .. }
            | Self::NoBlock(_) => Exit::Address,
            Self::Foreign { .. }
            | Self::OtherInstance { .. }
            | Self::SecondUplink { .. }
            | Self::Overlap { .. }
            | Self::MaxFlows { .. }
            | Self::Room { .. }
            | Self::OtherNamespace(_)
            | Self::UnseenNamespace(_) => Exit::Busy,
            Self::LinkLayer(_) | Self::Xdp { .. } | Self::Unsupported { .. } => Exit::Unsupported,
            Self::Version { .. } => Exit::Version,
            Self::Unfit(_)
            | Self::LogOff(_)
            | Self::NoBlocks(_)
            | Self::EventsOff(_)
            | Self::NoInstance(_)
            | Self::NotAttached { .. }
            | Self::NothingOn(_)
            | Self::Nothing => Exit::NotAttached,
        }
    }
}
