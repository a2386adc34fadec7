//! Somebody who reads every packet that reaches the outside, for as long as a story lasts.
//!
//! A private address must never be seen there, whatever happens inside, and a complete packet must
//! have right checksums. A [`Sentry`] stands at the server's end of the uplink from the moment it
//! is posted, and judges all it has seen when it is relieved, or when it is dropped.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::lab::Lab;
use crate::link::Port;
use crate::netns::Netns;
use crate::packet::{Ether, EtherType, Ipv4, Malformed, Packet, explain, faults};
use crate::packet6::Packet6;
use crate::tun::Layer;
use crate::wire::Wire;

/// How long the sentry looks at a silent wire before it asks whether it may go.
const PAUSE: Duration = Duration::from_millis(20);

/// Bad packets that are shown; there may be many.
const SHOWN: usize = 5;

/// A watch on the uplink.
#[derive(Debug)]
#[must_use = "a sentry that is dropped at once has seen nothing"]
pub struct Sentry {
    relieved: Arc<AtomicBool>,
    report: Option<JoinHandle<Report>>,
}

#[derive(Debug, Default)]
struct Report {
    /// Whether IPv6 is judged, too.
    six: bool,
    packets: u64,
    bad: Vec<String>,
}

impl Sentry {
    /// Posts one at the server's device. Where offloads are on, checksums are unfinished and are
    /// not judged.
    pub fn post(lab: &Lab) -> Self {
        let wire = Wire::open(&lab.server, &lab.server_port);
        Self::watch(wire, Layer::Ethernet, !lab.has_offloads())
    }

    /// Posts one that judges IPv6, too: nobody with a unique local address must be seen.
    pub fn post6(lab: &Lab) -> Self {
        let wire = Wire::open(&lab.server, &lab.server_port);
        let report = Report { six: true, ..Report::default() };
        Self::begin(wire, Layer::Ethernet, !lab.has_offloads(), report)
    }

    /// Posts one at any device outside whose checksums are real.
    pub fn at(netns: &Netns, device: &str, layer: Layer) -> Self {
        Self::of(netns, device, layer, true)
    }

    /// Posts one at a device where packets are joined before they are seen: checksums are not judged.
    pub fn at_joining(netns: &Netns, device: &str, layer: Layer) -> Self {
        Self::of(netns, device, layer, false)
    }

    fn of(netns: &Netns, device: &str, layer: Layer, checksums: bool) -> Self {
        let (index, mac) = (netns.index(device), crate::packet::Mac::default());
        let port = Port { device: device.to_owned(), index, mac };
        Self::watch(Wire::open(netns, &port), layer, checksums)
    }

    fn watch(wire: Wire, layer: Layer, checksums: bool) -> Self {
        Self::begin(wire, layer, checksums, Report::default())
    }

    fn begin(wire: Wire, layer: Layer, checksums: bool, report: Report) -> Self {
        let relieved = Arc::new(AtomicBool::new(false));
        let may_go = Arc::clone(&relieved);
        let report = thread::spawn(move || watch(&wire, layer, checksums, &may_go, report));
        Self { relieved, report: Some(report) }
    }

    /// Ends the watch and judges; returns how many IPv4 packets came by.
    ///
    /// # Panics
    /// When one had a private address, or a wrong checksum.
    #[track_caller]
    pub fn relieve(mut self) -> u64 {
        let report = self.end().expect("a sentry is relieved once");
        report.assert_good();
        report.packets
    }

    fn end(&mut self) -> Option<Report> {
        self.relieved.store(true, Ordering::Relaxed);
        self.report.take()?.join().ok()
    }
}

impl Drop for Sentry {
    fn drop(&mut self) {
        let report = self.end();
        // A test that has failed already says why by itself.
        if let Some(report) = report.filter(|_| !thread::panicking()) {
            report.assert_good();
        }
    }
}

impl Report {
    #[track_caller]
    fn assert_good(&self) {
        let shown = &self.bad[..self.bad.len().min(SHOWN)];
        let (bad, shown) = (self.bad.len(), shown.join("\n    "));
        assert!(bad == 0, "{bad} of {} packets outside were bad:\n    {shown}", self.packets);
    }

    fn note(&mut self, frame: &[u8], checksums: bool) {
        match Packet::parse(frame) {
            Ok(packet) => {
                self.packets += 1;
                let wrong = if checksums { faults(frame) } else { Vec::new() };
                if tells_who_is_inside(&packet) || !wrong.is_empty() {
                    self.bad.push(explain(frame));
                }
            }
            Err(Malformed::NotIpv4(_)) => {
                let Some(packet) = Packet6::read_frame(frame).filter(|_| self.six) else { return };
                self.packets += 1;
                if tells_who_is_inside6(&packet) {
                    self.bad.push(format!("{packet:?}"));
                }
            }
            Err(Malformed::Truncated | Malformed::BadHeader) => self.bad.push(explain(frame)),
        }
    }
}

fn watch(
    wire: &Wire,
    layer: Layer,
    checksums: bool,
    may_go: &AtomicBool,
    mut report: Report,
) -> Report {
    loop {
        // Asked before looking: what was sent before the end is still seen.
        let last = may_go.load(Ordering::Relaxed);
        let mut silent = true;
        while let Some(frame) = wire.receive(Instant::now() + PAUSE) {
            silent = false;
            report.note(&framed(layer, frame), checksums);
            if last && report.bad.len() > SHOWN {
                return report;
            }
        }
        if last && silent {
            return report;
        }
    }
}

/// The frame; a packet that came without one is given one.
fn framed(layer: Layer, packet: Vec<u8>) -> Vec<u8> {
    match layer {
        Layer::Ethernet => packet,
        Layer::Ip => Ether::default().frame(EtherType::of_ip(&packet), &packet),
    }
}

/// Whether a packet has an inside address, or quotes one.
fn tells_who_is_inside(packet: &Packet) -> bool {
    let inside = |address: Ipv4Addr| address.octets()[0] == 10;
    let tells = |ip: &Ipv4| {
        inside(ip.source) || inside(ip.destination) || recorded(&ip.options).any(inside)
    };
    tells(&packet.ip) || packet.quote().is_some_and(|quote| tells(&quote.ip))
}

/// The same for IPv6 (RFC 4193).
fn tells_who_is_inside6(packet: &Packet6) -> bool {
    let tells =
        |packet: &Packet6| packet.source.is_unique_local() || packet.destination.is_unique_local();
    tells(packet) || packet.quote().is_some_and(|quote| tells(&quote))
}

/// Everything in an IP header's options that may be an address which somebody on the way has written
/// there: in a recorded route or beside a timestamp.
fn recorded(options: &[u8]) -> impl Iterator<Item = Ipv4Addr> {
    let records = options.iter().any(|byte| matches!(byte, 7 | 68 | 131 | 137));
    let words = options.windows(4).filter(move |_| records);
    words.map(|word| Ipv4Addr::new(word[0], word[1], word[2], word[3]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::IcmpKind;

    #[test]
    fn inside_addresses_of_ipv6_are_noticed_where_they_are_looked_for() {
        let (inside, outside) = ("fd00::2".parse().unwrap(), "2001:db8::1".parse().unwrap());
        let good = Packet6::udp((outside, 1), (outside, 2), b"");
        let bad = Packet6::udp((inside, 1), (outside, 2), b"");
        let quote = Packet6::error(outside, outside, (1, 4), &bad);
        for (packet, six, expected) in
            [(&good, true, 0), (&bad, true, 1), (&quote, true, 1), (&bad, false, 0)]
        {
            let mut report = Report { six, ..Report::default() };
            report.note(&crate::datapath::frame6(&packet.bytes()), true);
            assert_eq!((report.packets, report.bad.len()), (u64::from(six), expected));
        }
    }

    #[test]
    fn inside_addresses_are_noticed_also_in_quotes() {
        let router = "198.51.100.1:4000";
        let good = Packet::udp(router, "198.51.100.2:53");
        let bad = good.clone().from("10.0.0.2:4000");
        let hop = "198.51.100.2".parse().expect("an address");
        let quote = bad.error(hop, IcmpKind::PORT_UNREACHABLE, 8).to(router);
        for (packet, expected) in [(&good, 0), (&bad, 1), (&quote, 1)] {
            let mut report = Report::default();
            report.note(&packet.bytes(), true);
            assert_eq!((report.packets, report.bad.len()), (1, expected), "{packet}");
        }
    }
}
