//! A line of the datapath's log, its numbers become names.
//!
//! The programs print `dev=2 hook=1 reason=0 proto=6 10.0.0.2:4000 > 192.0.2.1:80`; a line that
//! looks otherwise is shown as it came.

use std::net::SocketAddr;

use serde::Serialize;
use vnet_common::account::Reason;

use super::flows::proto_name;
use crate::bpf::Line;
use crate::spec::Hook;

/// A decision of the datapath, or any other line of its log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LogRow {
    /// Its level.
    pub level: String,
    /// The decision, when it is one.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub decision: Option<Decision>,
    /// What the programs wrote.
    pub message: String,
}

/// What became of a packet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Decision {
    /// Device it was seen on.
    pub ifindex: u32,
    /// Name of that device.
    pub ifname: String,
    /// Which way it went.
    pub hook: Hook,
    /// Name of its end, as `vnetctl counters` has it.
    pub reason: &'static str,
    /// Protocol; `other` when it was not looked at.
    pub proto: &'static str,
    /// Source address and port, as the packet arrived.
    pub src: SocketAddr,
    /// Destination address and port.
    pub dst: SocketAddr,
}

/// Gives the line its names; `name` knows those of devices.
#[must_use]
pub fn log_row(line: Line, name: impl Fn(u32) -> String) -> LogRow {
    let decision = decision(&line.message, name);
    LogRow { level: line.level, decision, message: line.message }
}

fn decision(message: &str, name: impl Fn(u32) -> String) -> Option<Decision> {
    let mut words = message.split(' ');
    let mut number = |key: &str| -> Option<u32> {
        words.next()?.strip_prefix(key)?.strip_prefix('=')?.parse().ok()
    };
    let (ifindex, hook) = (number("dev")?, number("hook")?);
    let (reason, proto) = (number("reason")?, number("proto")?);
    let hook = *Hook::ALL.get(hook as usize)?;
    let reason = Reason::ALL.get(reason as usize)?.name();
    let proto = proto_name(u8::try_from(proto).ok()?);
    let src = words.next()?.parse().ok()?;
    let dst = words.nth(1)?.parse().ok()?;
    Some(Decision { ifindex, ifname: name(ifindex), hook, reason, proto, src, dst })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(message: &str) -> LogRow {
        let line = Line { level: "debug".to_owned(), message: message.to_owned() };
        log_row(line, |index| format!("eth{index}"))
    }

    #[test]
    fn decisions_get_names() {
        let decision = row("dev=2 hook=1 reason=0 proto=6 10.0.0.2:4000 > 192.0.2.1:80").decision;
        let decision = decision.unwrap();
        assert_eq!((decision.ifname.as_str(), decision.hook), ("eth2", Hook::Out));
        assert_eq!((decision.reason, decision.proto), ("nat_out", "tcp"));
        assert_eq!(decision.src, "10.0.0.2:4000".parse().unwrap());
        assert_eq!(decision.dst, "192.0.2.1:80".parse().unwrap());
    }

    #[test]
    fn ipv6_addresses_are_read_too() {
        let decision = row("dev=2 hook=0 reason=9 proto=58 [fe80::1]:0 > [ff02::1]:0").decision;
        let decision = decision.unwrap();
        assert_eq!(decision.reason, "ipv6");
        assert_eq!(decision.src, "[fe80::1]:0".parse().unwrap());
    }

    #[test]
    fn other_lines_stay_as_they_are() {
        for message in ["hello", "dev=2 hook=7 reason=0 proto=6 x", "dev=2 hook=1 reason=999"] {
            assert_eq!(row(message).decision, None);
            assert_eq!(row(message).message, message);
        }
    }
}
