//! `home` and `asked`: how the sockets of this host itself are led by forwards. What they ask for is
//! changed as they ask, so nothing of theirs has to be translated.

use crate::{Ipv4, record};

/// The one entry of `home`: which network namespace the instance lives in, as programs see it. The
/// kernel tells the number of a namespace to programs only, so one of ours learns it from a socket that
/// it is shown.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Home {
    /// Cookie of the namespace; 0 until it has been learnt. No other ever has the same.
    pub netns: u64,
    /// Cookie of the socket that asks from there; 0 = none.
    pub shown: u64,
}
record!(Home, 16);

/// Key of `asked`: a socket, and where a forward has led it.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Led {
    /// Cookie of the socket.
    pub socket: u64,
    /// Inside address.
    pub addr: Ipv4,
    /// Inside port.
    pub port: u16,
    /// Always zero.
    pub reserved: u16,
}
record!(Led, 16);

/// Value of `asked`: where the socket had asked to go, and so believes to be.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Asked {
    /// Address; 0.0.0.0 = ::1.
    pub addr: Ipv4,
    /// Port.
    pub port: u16,
    /// Always zero.
    pub reserved: u16,
}
record!(Asked, 8);
