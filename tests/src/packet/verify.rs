//! Are all the checksums of a frame right, those of quoted packets too?

use super::{Body, Icmp, Packet, Protocol, Quote, Sum, explain};

/// Every fault of a frame, in words; empty for a good one.
pub fn faults(frame: &[u8]) -> Vec<String> {
    let packet = match Packet::parse(frame) {
        Ok(packet) => packet,
        Err(malformed) => return vec![malformed.to_string()],
    };
    let mut faults = Vec::new();
    judge("IP", packet.ip.checksum, &mut faults);
    if !packet.ip.is_fragment() {
        judge_body("", packet.ip.protocol, &packet.body, &mut faults);
    }
    if let Some(quote) = packet.quote() {
        judge_quote(&quote, &mut faults);
    }
    faults
}

/// Asserts that a frame is an IPv4 packet whose every checksum is right.
///
/// # Panics
/// When one is not, showing the packet and naming every fault.
#[track_caller]
pub fn assert_valid(frame: &[u8]) {
    let faults = faults(frame);
    assert!(faults.is_empty(), "{}: {}", explain(frame), faults.join(", "));
}

fn judge_quote(quote: &Quote, faults: &mut Vec<String>) {
    judge("quoted IP", quote.ip.checksum, faults);
    if let Some(body) = quote.whole.as_ref().filter(|_| !quote.ip.is_fragment()) {
        judge_body("quoted ", quote.ip.protocol, body, faults);
    }
}

fn judge_body(prefix: &str, protocol: Protocol, body: &Body, faults: &mut Vec<String>) {
    match body {
        Body::Tcp(tcp) => judge(&format!("{prefix}TCP"), tcp.checksum, faults),
        Body::Udp(udp) => judge(&format!("{prefix}UDP"), udp.checksum, faults),
        Body::Icmp(Icmp { checksum, .. }) => judge(&format!("{prefix}ICMP"), *checksum, faults),
        Body::Raw(_) => match protocol {
            Protocol::TCP | Protocol::UDP | Protocol::ICMP => {
                faults.push(format!("{prefix}{protocol} header cut short or of a wrong length"));
            }
            // Protocols the harness does not know: nothing to judge.
            Protocol(_) => {}
        },
    }
}

fn judge(whose: &str, sum: Sum, faults: &mut Vec<String>) {
    match sum {
        Sum::Right | Sum::Absent => {}
        Sum::Wrong(value) => faults.push(format!("wrong {whose} checksum {value:#06x}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::{IcmpKind, TcpFlags};

    fn udp() -> Packet {
        Packet::udp("10.0.0.2:4000", "198.51.100.2:53").payload(b"hello")
    }

    #[test]
    fn every_kind_of_packet_is_written_right() {
        let router = "198.51.100.9".parse().unwrap();
        let tcp = Packet::tcp("10.0.0.2:4000", "198.51.100.2:80", TcpFlags::SYN).payload(b"odd");
        for packet in [
            udp(),
            udp().checksum(Sum::Absent),
            tcp.clone(),
            Packet::ping(router, router, 7).payload(b"abc"),
            tcp.error(router, IcmpKind::TIME_EXCEEDED, 8),
            udp().error(router, IcmpKind::PORT_UNREACHABLE, 1500),
        ] {
            assert_valid(&packet.bytes());
        }
    }

    #[test]
    fn one_flipped_bit_anywhere_in_the_packet_is_noticed() {
        let good = udp().bytes();
        for bit in 14 * 8..good.len() * 8 {
            let mut bad = good.clone();
            bad[bit / 8] ^= 0x80 >> (bit % 8);
            let version_or_length = (14 * 8..15 * 8).contains(&bit);
            assert!(version_or_length || !faults(&bad).is_empty(), "bit {bit} went unnoticed");
        }
    }

    #[test]
    fn a_quote_is_judged_as_well() {
        let mut quoted = udp();
        quoted.ip.checksum = Sum::Wrong(1);
        let error = quoted.error("198.51.100.9".parse().unwrap(), IcmpKind::TIME_EXCEEDED, 8);
        assert_eq!(faults(&error.bytes()), ["wrong quoted IP checksum 0x0001"]);
        let whole = udp().checksum(Sum::Wrong(2));
        let error = whole.error("198.51.100.9".parse().unwrap(), IcmpKind::TIME_EXCEEDED, 99);
        assert_eq!(faults(&error.bytes()), ["wrong quoted UDP checksum 0x0002"]);
    }
}
