//! The wish behind `vnetctl forward`: all of its words are looked at, and every fault is told.

use std::fmt;
use std::net::Ipv4Addr;

use serde::Serialize;
use vnet_common::flow::proto;

use super::name::Instance;
use super::word::{self, Ports};
use crate::fault::{Fault, ForwardFault};

/// Longest name of a forward, in bytes.
const NAME_MAX: usize = 31;

/// A protocol that has ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Proto {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

impl Proto {
    /// Reads the word.
    ///
    /// # Errors
    /// When it is neither `tcp` nor `udp`.
    pub fn parse(typed: &str) -> Result<Self, Fault> {
        match typed {
            "tcp" => Ok(Self::Tcp),
            "udp" => Ok(Self::Udp),
            _ => Err(ForwardFault::Proto(typed.to_owned()).into()),
        }
    }

    /// The one with this IP protocol number.
    #[must_use]
    pub const fn from_number(number: u8) -> Option<Self> {
        match number {
            proto::TCP => Some(Self::Tcp),
            proto::UDP => Some(Self::Udp),
            _ => None,
        }
    }

    /// Its IP protocol number.
    #[must_use]
    pub const fn number(self) -> u8 {
        match self {
            Self::Tcp => proto::TCP,
            Self::Udp => proto::UDP,
        }
    }
}

impl fmt::Display for Proto {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        })
    }
}

/// The words of `forward add` as typed; `None` where nothing was.
#[derive(Clone, Debug, Default)]
pub struct ForwardWords {
    /// The protocol.
    pub proto: String,
    /// `PORT[-LAST]`
    pub ports: String,
    /// `ADDRESS[:PORT[-LAST]]`
    pub target: String,
    /// `--address`
    pub address: Option<String>,
    /// `--instance`
    pub instance: Option<String>,
    /// `--name`
    pub name: Option<String>,
    /// `--force`
    pub force: bool,
}

/// A forward that makes sense by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForwardWish {
    /// The instance, when one was named.
    pub instance: Option<Instance>,
    /// The protocol.
    pub proto: Proto,
    /// Outside ports.
    pub ports: Ports,
    /// Inside address.
    pub inside: Ipv4Addr,
    /// Inside ports, as many.
    pub inside_ports: Ports,
    /// The outside address, when one was named.
    pub address: Option<Ipv4Addr>,
    /// Its name, when one was given.
    pub name: Option<String>,
    /// Whether connections that hold the ports shall be ended.
    pub force: bool,
}

impl ForwardWish {
    /// Gives the words their meaning.
    ///
    /// # Errors
    /// Every fault the words have.
    pub fn parse(words: &ForwardWords) -> Result<Self, Vec<Fault>> {
        let mut faults = Vec::new();
        let mut keep = |fault: Fault| faults.push(fault);
        let proto = Proto::parse(&words.proto).map_err(&mut keep).ok();
        let ports = outside_ports(&words.ports).map_err(&mut keep).ok();
        let target = target(&words.target, ports).map_err(&mut keep).ok();
        let address = words.address.as_deref().map(word::address).transpose();
        let address = address.map_err(&mut keep).ok().flatten();
        let instance = words.instance.as_deref().map(Instance::parse).transpose();
        let instance = instance.map_err(&mut keep).ok().flatten();
        let name = words.name.as_deref().map(forward_name).transpose();
        let name = name.map_err(&mut keep).ok().flatten();
        let force = words.force;
        match (proto, ports, target) {
            (Some(proto), Some(ports), Some((inside, inside_ports))) if faults.is_empty() => {
                let (instance, name) = (instance, name);
                let wish =
                    Self { instance, proto, ports, inside, inside_ports, address, name, force };
                Ok(wish)
            }
            _ => Err(faults),
        }
    }
}

fn outside_ports(typed: &str) -> Result<Ports, Fault> {
    Ports::parse(typed).map_err(|_| ForwardFault::Ports(typed.to_owned()).into())
}

/// `ADDRESS`, `ADDRESS:PORT` or `ADDRESS:PORT-LAST`; without a port the outside ones.
fn target(typed: &str, outside: Option<Ports>) -> Result<(Ipv4Addr, Ports), Fault> {
    let odd = || ForwardFault::Target(typed.to_owned());
    let (address, ports) = match typed.split_once(':') {
        Some((address, ports)) => (address, Some(Ports::parse(ports).map_err(|_| odd())?)),
        None => (typed, None),
    };
    let address = word::address(address).map_err(|_| odd())?;
    // While the outside ports make no sense themselves, there is nothing to compare with.
    let outside = outside.unwrap_or(ports.unwrap_or(Ports::DEFAULT));
    let ports = ports.unwrap_or(outside);
    if ports.count() != outside.count() {
        return Err(ForwardFault::Sizes { address, outside, inside: ports }.into());
    }
    Ok((address, ports))
}

/// The name of a forward. It is never only digits: those would be a port.
///
/// # Errors
/// When it is empty, too long, a number, or has other characters than `a-z A-Z 0-9 . _ -`.
pub fn forward_name(typed: &str) -> Result<String, Fault> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    let fits = (1..=NAME_MAX).contains(&typed.len()) && typed.bytes().all(plain);
    let number = typed.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-');
    if fits && !number {
        Ok(typed.to_owned())
    } else {
        Err(ForwardFault::Name(typed.to_owned()).into())
    }
}

/// Which forward a `del` means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Which {
    /// The one of that name.
    Name(String),
    /// The one with that number.
    Id(u32),
    /// The one that leads from that outside port, of that protocol when one was named.
    Port(Option<Proto>, u16),
}

impl Which {
    /// `NAME`, `PORT`, or `PROTO PORT`.
    ///
    /// # Errors
    /// When it is none of them.
    pub fn parse(first: &str, second: Option<&str>) -> Result<Self, Fault> {
        let port = |typed: &str| {
            let port = typed.parse().ok().filter(|port| *port > 0);
            port.ok_or_else(|| Fault::from(ForwardFault::Ports(typed.to_owned())))
        };
        match second {
            Some(second) => Ok(Self::Port(Some(Proto::parse(first)?), port(second)?)),
            None if first.bytes().all(|byte| byte.is_ascii_digit()) => {
                Ok(Self::Port(None, port(first)?))
            }
            None => Ok(Self::Name(forward_name(first)?)),
        }
    }
}

impl fmt::Display for Which {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => write!(f, "'{name}'"),
            Self::Id(id) => write!(f, "number {id}"),
            Self::Port(Some(proto), port) => write!(f, "of {proto} port {port}"),
            Self::Port(None, port) => write!(f, "of port {port}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wish(proto: &str, ports: &str, target: &str) -> Result<ForwardWish, Vec<Fault>> {
        ForwardWish::parse(&ForwardWords {
            proto: proto.into(),
            ports: ports.into(),
            target: target.into(),
            ..ForwardWords::default()
        })
    }

    #[test]
    fn ports_are_kept_unless_others_are_named() {
        let ports = |wish: ForwardWish| (wish.ports.to_string(), wish.inside_ports.to_string());
        let said = |outside: &str, inside: &str| (outside.to_owned(), inside.to_owned());
        let read = |ports_typed, target| ports(wish("tcp", ports_typed, target).unwrap());
        assert_eq!(read("80", "10.0.0.2"), said("80", "80"));
        assert_eq!(read("80", "10.0.0.2:8080"), said("80", "8080"));
        assert_eq!(read("8000-8009", "10.0.0.2"), said("8000-8009", "8000-8009"));
        assert_eq!(read("8000-8009", "10.0.0.2:1-10"), said("8000-8009", "1-10"));
    }

    #[test]
    fn every_fault_is_told() {
        let faults = wish("sctp", "0", "10.0.0.2:0").unwrap_err();
        assert_eq!(faults.len(), 3, "{faults:?}");
        for (ports, target) in
            [("0", "10.0.0.2"), ("70000", "10.0.0.2"), ("9-8", "10.0.0.2"), ("80", "ten")]
        {
            assert_eq!(wish("udp", ports, target).unwrap_err().len(), 1, "{ports} {target}");
        }
        let faults = wish("udp", "80-89", "10.0.0.2:80").unwrap_err();
        assert!(faults[0].to_string().contains("10.0.0.2:80-89"), "{faults:?}");
    }

    #[test]
    fn a_name_is_no_port() {
        for good in ["web", "tcp-80", "a.b_c-D"] {
            assert!(forward_name(good).is_ok(), "{good}");
        }
        for bad in ["", "80", "80-90", "a b", "a/b", &"x".repeat(32)] {
            assert!(forward_name(bad).is_err(), "{bad}");
        }
        assert_eq!(Which::parse("80", None), Ok(Which::Port(None, 80)));
        assert_eq!(Which::parse("udp", Some("53")), Ok(Which::Port(Some(Proto::Udp), 53)));
        assert_eq!(Which::parse("web", None), Ok(Which::Name("web".into())));
        assert!(Which::parse("0", None).is_err() && Which::parse("web", Some("80")).is_err());
    }
}
