//! A frame in one line, for the message of a failed assertion.

use std::fmt::Write as _;

use super::{Body, EtherType, Icmp, IcmpBody, IcmpKind, Mac, Malformed, Packet, faults};

/// One line saying what a frame is, in the manner of tcpdump, with every wrong checksum named.
///
/// MAC addresses are shown where they are set, the VLAN id where there is a tag.
pub fn explain(frame: &[u8]) -> String {
    match Packet::parse(frame) {
        Ok(packet) => explain_packet(&packet, frame),
        Err(Malformed::NotIpv4(kind)) => explain_other(kind, frame),
        Err(malformed @ (Malformed::Truncated | Malformed::BadHeader)) => {
            format!("{malformed}, {} bytes: {}", frame.len(), hex(frame))
        }
    }
}

impl std::fmt::Display for Packet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&explain_packet(self, &self.bytes()))
    }
}

fn explain_packet(packet: &Packet, frame: &[u8]) -> String {
    let mut line = String::new();
    let ether = &packet.ether;
    if ether.source != Mac::default() || ether.destination != Mac::default() {
        let _ = write!(line, "{} > {} ", ether.source, ether.destination);
    }
    if let Some(tag) = ether.vlan {
        let _ = write!(line, "vlan {} ", tag & 0xfff);
    }
    line += &explain_body(packet);
    let ip = &packet.ip;
    let _ = write!(line, " ttl {} id {}", ip.ttl, ip.id);
    for (set, word) in [(ip.dont_fragment, " DF"), (!ip.options.is_empty(), " options")] {
        if set {
            line += word;
        }
    }
    if ip.tos != 0 {
        let _ = write!(line, " tos {:#04x}", ip.tos);
    }
    let faults = faults(frame);
    if !faults.is_empty() {
        let _ = write!(line, " [{}]", faults.join(", "));
    }
    line
}

fn explain_body(packet: &Packet) -> String {
    let (ip, length) = (&packet.ip, packet.data().len());
    let ports = || format!("{} > {}", packet.source(), packet.destination());
    let addresses = || format!("{} > {}", ip.source, ip.destination);
    match &packet.body {
        Body::Tcp(tcp) => format!(
            "{} tcp [{}] seq {} ack {} win {} len {length}",
            ports(),
            tcp.flags,
            tcp.sequence,
            tcp.acknowledgement,
            tcp.window
        ),
        Body::Udp(_) => format!("{} udp len {length}", ports()),
        Body::Icmp(icmp) => format!("{} icmp {}", addresses(), explain_icmp(icmp)),
        Body::Raw(_) if ip.is_fragment() => format!(
            "{} {} fragment at {}{} len {length}",
            addresses(),
            ip.protocol,
            u32::from(ip.fragment_offset) * 8,
            if ip.more_fragments { "+" } else { "" }
        ),
        Body::Raw(_) => format!("{} {} len {length}", addresses(), ip.protocol),
    }
}

fn explain_icmp(icmp: &Icmp) -> String {
    match &icmp.body {
        IcmpBody::Echo { id, sequence, payload } => {
            let what = if icmp.kind == IcmpKind::ECHO_REQUEST { "request" } else { "reply" };
            format!("echo {what} id {id} seq {sequence} len {}", payload.len())
        }
        IcmpBody::Other { rest, quote } => {
            let IcmpKind { kind, code } = icmp.kind;
            let about = icmp.quote().map_or_else(
                || format!("len {}", quote.len()),
                |q| format!("about {} > {} {}", q.source, q.destination, q.ip.protocol),
            );
            format!("type {kind} code {code} rest {rest} {about}")
        }
    }
}

fn explain_other(kind: EtherType, frame: &[u8]) -> String {
    let name = match kind {
        EtherType::ARP => "arp".to_owned(),
        EtherType::IPV6 => "ipv6".to_owned(),
        EtherType(number) => format!("EtherType {number:#06x}"),
    };
    format!("{name}, {} bytes: {}", frame.len(), hex(frame))
}

fn hex(bytes: &[u8]) -> String {
    const SHOWN: usize = 64;
    let mut text: String = bytes.iter().take(SHOWN).map(|byte| format!("{byte:02x}")).collect();
    if bytes.len() > SHOWN {
        text += "…";
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::{Sum, TcpFlags};

    #[test]
    fn a_syn() {
        let syn = Packet::tcp("10.0.0.2:4000", "198.51.100.2:80", TcpFlags::SYN).numbers(5, 0);
        let line =
            "10.0.0.2:4000 > 198.51.100.2:80 tcp [S] seq 5 ack 0 win 64240 len 0 ttl 64 id 1";
        assert_eq!(syn.to_string(), line);
    }

    #[test]
    fn a_wrong_checksum_is_named() {
        let bad = Packet::udp("10.0.0.2:1", "10.0.0.3:2").checksum(Sum::Wrong(0xbeef));
        let line = "10.0.0.2:1 > 10.0.0.3:2 udp len 0 ttl 64 id 1 [wrong UDP checksum 0xbeef]";
        assert_eq!(bad.to_string(), line);
    }

    #[test]
    fn an_error_says_what_it_is_about() {
        let udp = Packet::udp("10.0.0.2:4000", "198.51.100.2:53");
        let error =
            udp.error("198.51.100.2".parse().unwrap(), IcmpKind::PORT_UNREACHABLE, 8).to_string();
        assert!(error.contains("about 10.0.0.2:4000 > 198.51.100.2:53 udp"), "{error}");
    }

    #[test]
    fn what_is_not_ipv4_is_shown_as_bytes() {
        let frame = [&[0xff; 12][..], &[0x08, 0x06], &[1, 2]].concat();
        assert_eq!(explain(&frame), "arp, 16 bytes: ffffffffffffffffffffffff08060102");
        assert_eq!(explain(&frame[..3]), "truncated, 3 bytes: ffffff");
    }
}
