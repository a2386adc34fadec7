//! A mapping, or a block of ports, whose use began or ended: for people, for JSON and for syslog.

use std::net::IpAddr;

use rustix::time::{ClockId, clock_gettime};
use serde::Serialize;
use vnet_common::Ipv4;
use vnet_common::event::{Event, kind};
use vnet_common::flow::flag;

use super::clock;
use super::flows::proto_name;
use crate::spec::Ports;

/// A mapping, or a block, whose use began or ended. Keys are those of [`super::MappingRow`] and
/// [`super::BlockRow`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct EventRow {
    /// When: UTC, as RFC 3339 has it.
    pub time: String,
    /// Instance it belongs to.
    pub instance: String,
    /// `created` or `deleted`.
    pub event: &'static str,
    /// Inside address.
    pub src: IpAddr,
    /// Outside address.
    pub outside: IpAddr,
    /// The rest of it.
    #[serde(flatten)]
    pub what: What,
    /// Whether it is this host's own.
    pub host: bool,
}

/// What begins and ends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum What {
    /// A mapping.
    Mapping {
        /// Protocol: `tcp`, `udp` or `icmp`.
        proto: &'static str,
        /// Inside port, or ICMP query identifier.
        sport: u16,
        /// Outside port, or ICMP query identifier.
        outside_port: u16,
    },
    /// The use of a block, by any mapping.
    Block {
        /// First and last port.
        ports: Ports,
    },
}

/// Gives an event its names; `read` says what an address of a table is.
#[must_use]
pub fn event_row(event: &Event, instance: &str, read: &dyn Fn(Ipv4) -> IpAddr) -> EventRow {
    EventRow {
        time: utc(wall_clock(event.time)),
        instance: instance.to_owned(),
        event: match event.kind {
            kind::CREATED | kind::BLOCK_CREATED => "created",
            _ => "deleted",
        },
        src: read(event.inside),
        outside: read(event.outside),
        what: match event.kind {
            kind::BLOCK_CREATED | kind::BLOCK_DELETED => {
                What::Block { ports: Ports { min: event.inside_port, max: event.outside_port } }
            }
            _ => What::Mapping {
                proto: proto_name(event.proto),
                sport: event.inside_port,
                outside_port: event.outside_port,
            },
        },
        host: event.flags & u16::from(flag::HOST) != 0,
    }
}

/// Milliseconds since 1970 of a moment of the datapath's clock.
fn wall_clock(moment: u64) -> u64 {
    let now = clock_gettime(ClockId::RealtimeCoarse);
    let seconds = u64::try_from(now.tv_sec).unwrap_or_default();
    let now = seconds * 1000 + u64::try_from(now.tv_nsec).unwrap_or_default() / 1_000_000;
    now.saturating_sub(clock::now().saturating_sub(moment) / 1_000_000)
}

/// Milliseconds since 1970 as RFC 3339 writes them, in UTC.
fn utc(millis: u64) -> String {
    let (days, rest) = (millis / 86_400_000, millis % 86_400_000);
    let (year, month, day) = date(days);
    let (hour, minute) = (rest / 3_600_000, rest / 60_000 % 60);
    let (second, milli) = (rest / 1000 % 60, rest % 1000);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{milli:03}Z")
}

/// Year, month and day of a day since 1970 (Gregorian; 400 years have 146,097 days). Years are
/// counted from March on, so that the leap day is the last one.
const fn date(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (era * 400 + year + (month <= 2) as u64, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_rfc_3339_has_them() {
        for (millis, written) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_399_999, "2000-02-28T23:59:59.999Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (951_868_800_000, "2000-03-01T00:00:00.000Z"),
            (1_767_225_599_001, "2025-12-31T23:59:59.001Z"),
            (4_107_542_400_000, "2100-03-01T00:00:00.000Z"),
        ] {
            assert_eq!(utc(millis), written);
        }
    }

    #[test]
    fn an_event_names_both_ends_and_nobody_else() {
        let event = Event {
            time: clock::now(),
            inside: [10, 0, 0, 2],
            outside: [198, 51, 100, 1],
            inside_port: 4000,
            outside_port: 5000,
            proto: 17,
            kind: kind::DELETED,
            flags: 0,
        };
        let row = event_row(&event, "default", &|addr| addr.into());
        assert_eq!((row.event, row.host), ("deleted", false));
        assert_eq!(row.src, IpAddr::from([10, 0, 0, 2]));
        assert_eq!(row.outside, IpAddr::from([198, 51, 100, 1]));
        let what = What::Mapping { proto: "udp", sport: 4000, outside_port: 5000 };
        assert_eq!(row.what, what);
        let block = Event { kind: kind::BLOCK_CREATED, proto: 0, ..event };
        let row = event_row(&block, "default", &|addr| addr.into());
        assert_eq!(row.event, "created");
        assert_eq!(row.what, What::Block { ports: Ports { min: 4000, max: 5000 } });
    }
}
