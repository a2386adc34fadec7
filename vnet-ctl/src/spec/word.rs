//! Single words of the command line and their meaning.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};

use ipnet::{IpNet, Ipv4Net};
use serde::Serialize;
use vnet_common::policy::{Config, config_flag, filtering};

use crate::fault::Fault;

/// Level of the datapath's log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// Nothing: the verifier removes the log's code.
    #[default]
    Off = 0,
    /// Failures of vnet itself: the programs have none to tell so far.
    Error = 1,
    /// Also every packet that is dropped, and why.
    Warn = 2,
    /// The same so far.
    Info = 3,
    /// Also every other decision: one for each packet.
    Debug = 4,
    /// The same so far.
    Trace = 5,
}

impl Level {
    /// Every level, in order.
    pub const ALL: [Self; 6] =
        [Self::Off, Self::Error, Self::Warn, Self::Info, Self::Debug, Self::Trace];

    /// The word for it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        }
    }

    /// The level with this number; an unknown one counts as the loudest.
    #[must_use]
    pub fn from_number(number: u32) -> Self {
        Self::ALL.into_iter().find(|level| *level as u32 == number).unwrap_or(Self::Trace)
    }

    /// Reads the word.
    ///
    /// # Errors
    /// When it is none.
    pub fn parse(typed: &str) -> Result<Self, Fault> {
        let found = Self::ALL.into_iter().find(|level| level.name() == typed);
        found.ok_or_else(|| Fault::LogLevel(typed.to_owned()))
    }
}

/// Reads what becomes of fragments that come before their first: whether they are put in order.
///
/// # Errors
/// When it is neither.
pub(super) fn sort(typed: &str) -> Result<bool, Fault> {
    match typed {
        "sort" => Ok(true),
        "ordered" => Ok(false),
        _ => Err(Fault::Fragments(typed.to_owned())),
    }
}

/// Reads whose packets keep a UDP mapping alive (RFC 4787 REQ-6): what the flags say of it.
///
/// # Errors
/// When it is neither.
pub(super) fn refresh(typed: &str) -> Result<u32, Fault> {
    match typed {
        "both" => Ok(config_flag::INBOUND_REFRESH),
        "outbound" => Ok(0),
        _ => Err(Fault::Refresh(typed.to_owned())),
    }
}

/// First and last port that may be handed out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Ports {
    /// First port.
    pub min: u16,
    /// Last port.
    pub max: u16,
}

impl Ports {
    /// The ports handed out when nothing else is wished.
    pub const DEFAULT: Self = Self { min: Config::DEFAULT.port_min, max: Config::DEFAULT.port_max };
    /// Those handed out besides, to who comes from a port below 1024 (RFC 4787 REQ-3).
    pub const LOW: Option<Self> =
        Some(Self { min: Config::DEFAULT.low_min, max: Config::DEFAULT.low_max });

    /// Reads `A-B`, or one port.
    ///
    /// # Errors
    /// When there is no port in it.
    pub fn parse(typed: &str) -> Result<Self, Fault> {
        let (min, max) = typed.split_once('-').unwrap_or((typed, typed));
        match (min.parse(), max.parse()) {
            (Ok(min), Ok(max)) if 1 <= min && min <= max => Ok(Self { min, max }),
            _ => Err(Fault::Ports(typed.to_owned())),
        }
    }

    /// How many ports.
    #[must_use]
    pub fn count(self) -> u32 {
        u32::from(self.max) - u32::from(self.min) + 1
    }

    /// Whether a port is in it.
    #[must_use]
    pub const fn contains(self, port: u16) -> bool {
        self.min <= port && port <= self.max
    }

    /// The ports in both, if there are any.
    #[must_use]
    pub fn common(self, other: Self) -> Option<Self> {
        let both = Self { min: self.min.max(other.min), max: self.max.min(other.max) };
        (both.min <= both.max).then_some(both)
    }

    /// Whether a port is in both.
    #[must_use]
    pub const fn overlaps(self, other: Self) -> bool {
        self.min <= other.max && other.min <= self.max
    }
}

/// Reads `A-B` within the ports below 1024, or `none`.
///
/// # Errors
/// When it is neither.
pub(super) fn low_ports(typed: &str) -> Result<Option<Ports>, Fault> {
    if typed == "none" {
        return Ok(None);
    }
    let low = Ports::parse(typed).ok().filter(|ports| ports.max < 1024);
    low.map(Some).ok_or_else(|| Fault::LowPorts(typed.to_owned()))
}

/// Who may send to a mapping (RFC 4787 section 5).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Filtering {
    /// Anybody.
    EndpointIndependent = filtering::ENDPOINT_INDEPENDENT as isize,
    /// Whoever has an address that the mapping's owner has sent to.
    AddressDependent = filtering::ADDRESS_DEPENDENT as isize,
    /// Only those the mapping's owner has sent to.
    #[default]
    AddressAndPortDependent = filtering::ADDRESS_AND_PORT_DEPENDENT as isize,
}

impl Filtering {
    /// Every mode, the most open one first.
    pub const ALL: [Self; 3] =
        [Self::EndpointIndependent, Self::AddressDependent, Self::AddressAndPortDependent];

    /// The word for it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::EndpointIndependent => "endpoint-independent",
            Self::AddressDependent => "address-dependent",
            Self::AddressAndPortDependent => "address-and-port-dependent",
        }
    }

    /// The mode with this number; an unknown one counts as the strictest.
    #[must_use]
    pub fn from_number(number: u32) -> Self {
        Self::ALL.into_iter().find(|mode| *mode as u32 == number).unwrap_or_default()
    }

    /// Reads the word.
    ///
    /// # Errors
    /// When it is none.
    pub fn parse(typed: &str) -> Result<Self, Fault> {
        let found = Self::ALL.into_iter().find(|mode| mode.name() == typed);
        found.ok_or_else(|| Fault::Filtering(typed.to_owned()))
    }
}

impl fmt::Display for Ports {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.min == self.max {
            return write!(f, "{}", self.min);
        }
        write!(f, "{}-{}", self.min, self.max)
    }
}

/// A number within bounds.
///
/// # Errors
/// When it is none, or out of bounds.
pub fn number(option: &'static str, typed: &str, min: u32, max: u32) -> Result<u32, Fault> {
    let within = typed.parse().ok().filter(|number| (min..=max).contains(number));
    within.ok_or_else(|| Fault::Number { option, given: typed.to_owned(), min, max })
}

/// An address that a host can have.
///
/// # Errors
/// When it is no IPv4 address, or one no host has.
pub fn address(typed: &str) -> Result<Ipv4Addr, Fault> {
    let usable = |address: &Ipv4Addr| {
        !address.is_unspecified()
            && !address.is_multicast()
            && !address.is_broadcast()
            && !address.is_loopback()
    };
    let read = typed.parse().ok().filter(usable);
    read.ok_or_else(|| Fault::AddressWord(typed.to_owned()))
}

/// A prefix without host bits; a lone address is a prefix of 32 bits.
///
/// # Errors
/// When it is none.
pub fn prefix(option: &'static str, typed: &str) -> Result<Ipv4Net, Fault> {
    let given = typed.to_owned();
    if let Ok(IpAddr::V4(address)) = typed.parse() {
        return Ok(Ipv4Net::from(address));
    }
    let Ok(net) = typed.parse::<Ipv4Net>() else {
        let hint = "give an IPv4 prefix such as 10.0.0.0/8";
        return Err(Fault::Word { option, given, hint });
    };
    if net == net.trunc() {
        Ok(net)
    } else {
        Err(Fault::HostBits { option, given, meant: net.trunc().to_string() })
    }
}

/// The same of either family.
///
/// # Errors
/// When it is none.
pub fn any_prefix(option: &'static str, typed: &str) -> Result<IpNet, Fault> {
    let given = typed.to_owned();
    if let Ok(address) = typed.parse::<IpAddr>() {
        return Ok(IpNet::from(address));
    }
    let Ok(net) = typed.parse::<IpNet>() else {
        let hint = "give a prefix such as 10.0.0.0/8 or fd00::/8";
        return Err(Fault::Word { option, given, hint });
    };
    if net == net.trunc() {
        Ok(net)
    } else {
        Err(Fault::HostBits { option, given, meant: net.trunc().to_string() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports() {
        assert_eq!(Ports::parse("1024-65535"), Ok(Ports { min: 1024, max: 65535 }));
        assert_eq!(Ports::parse("4000"), Ok(Ports { min: 4000, max: 4000 }));
        for bad in ["", "-", "0-5", "5-4", "1-65536", "a-b", "1-2-3"] {
            assert_eq!(Ports::parse(bad), Err(Fault::Ports(bad.to_owned())));
        }
        let low = Ports { min: 1, max: 10 };
        assert!(low.overlaps(Ports { min: 10, max: 20 }));
        assert!(!low.overlaps(Ports { min: 11, max: 20 }));
    }

    #[test]
    fn addresses() {
        assert!(address("203.0.113.7").is_ok());
        for bad in ["", "::1", "0.0.0.0", "127.0.0.1", "224.0.0.1", "255.255.255.255", "1.2.3"] {
            assert_eq!(address(bad), Err(Fault::AddressWord(bad.to_owned())));
        }
    }

    #[test]
    fn prefixes() {
        let read = |typed| prefix("--inside", typed).map(|net| net.to_string());
        assert_eq!(read("10.0.0.0/8"), Ok("10.0.0.0/8".to_owned()));
        assert_eq!(read("10.0.0.1"), Ok("10.0.0.1/32".to_owned()));
        let (given, meant) = ("10.1.0.0/8".to_owned(), "10.0.0.0/8".to_owned());
        assert_eq!(read("10.1.0.0/8"), Err(Fault::HostBits { option: "--inside", given, meant }));
        assert!(matches!(read("10.0.0.0/33"), Err(Fault::Word { option: "--inside", .. })));
    }

    #[test]
    fn low_ports_are_below_1024_or_none() {
        assert_eq!(low_ports("none"), Ok(None));
        assert_eq!(low_ports("512-1023"), Ok(Some(Ports { min: 512, max: 1023 })));
        for bad in ["", "0-5", "1-1024", "many"] {
            assert_eq!(low_ports(bad), Err(Fault::LowPorts(bad.to_owned())));
        }
    }

    #[test]
    fn modes_are_read_back() {
        for mode in Filtering::ALL {
            assert_eq!(Filtering::parse(mode.name()), Ok(mode));
            assert_eq!(Filtering::from_number(mode as u32), mode);
            assert_eq!(serde_json::to_value(mode).unwrap(), mode.name());
        }
        assert_eq!(Filtering::from_number(99), Filtering::AddressAndPortDependent);
        assert_eq!(Filtering::parse("open"), Err(Fault::Filtering("open".into())));
    }

    #[test]
    fn levels_are_read_back() {
        for level in Level::ALL {
            assert_eq!(Level::parse(level.name()), Ok(level));
            assert_eq!(Level::from_number(level as u32), level);
        }
        assert_eq!(Level::from_number(99), Level::Trace);
    }
}
