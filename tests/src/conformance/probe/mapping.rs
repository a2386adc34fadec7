//! Which outside address and port an inside one gets, alone and against others.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddrV4;

use crate::conformance::Level::{Must, Should};
use crate::conformance::field::{A, B, Field, S1, S2, S3, outside, unique_id};
use crate::conformance::tcp::Connection;
use crate::conformance::{Miss, Requirement, Seen, Translator, ensure, fails};
use crate::packet::{Packet, Protocol};

pub(super) const LIST: &[Requirement] = &[
    Requirement::new(
        (Must, "RFC 4787 REQ-1"),
        "rfc4787_req1_endpoint_independent_mapping",
        "UDP: one inside address and port has one outside address and port towards everybody, \
         also when another host has that port.",
        udp_contended,
    ),
    Requirement::new(
        (Must, "RFC 5382 REQ-1"),
        "rfc5382_req1_endpoint_independent_mapping",
        "TCP: the same.",
        tcp_contended,
    ),
    Requirement::new(
        (Should, "RFC 5508 REQ-1a"),
        "rfc5508_req1a_endpoint_independent_query_id",
        "Pings: the same for the query id.",
        ping_contended,
    ),
    Requirement::new(
        (Must, "RFC 5508 REQ-1"),
        "rfc5508_req1_queries_and_answers",
        "A ping from inside is answered.",
        ping_answered,
    ),
    Requirement::new(
        (Must, "RFC 4787 REQ-11"),
        "rfc4787_req11_deterministic_when_touched_from_outside",
        "A packet from outside that came first does not change the mapping.",
        polluted,
    ),
    Requirement::new(
        (Must, "RFC 4787 REQ-11"),
        "rfc4787_req11_deterministic_under_load",
        "Nor does load: two hosts with 256 equal ports each keep one outside port per endpoint \
         towards three servers.",
        loaded,
    ),
    Requirement::new(
        (Must, "RFC 4787 REQ-3"),
        "rfc4787_req3_no_port_overloading",
        "UDP: two inside endpoints never share an outside port, whomever they talk to.",
        udp_not_shared,
    ),
    Requirement::new(
        (Must, "RFC 5382 REQ-7"),
        "rfc5382_req7_no_port_overloading",
        "TCP: the same.",
        tcp_not_shared,
    ),
    Requirement::new(
        (Should, "RFC 7857 section 5"),
        "rfc7857_5_protocols_are_independent",
        "A TCP mapping takes nothing from UDP: the port that one host holds for TCP is another's \
         for UDP.",
        protocols_apart,
    ),
    Requirement::new(
        (Should, "RFC 4787 REQ-10, RFC 5382 REQ-6"),
        "rfc4787_req10_payload_is_untouched",
        "Addresses inside the payload are not changed (no ALG), in UDP and in TCP.",
        payload_untouched,
    ),
];

/// Where an endpoint appears towards some servers, when it does so at one place.
fn one_place(places: impl IntoIterator<Item = Result<SocketAddrV4, Miss>>) -> Seen {
    let places = places.into_iter().collect::<Result<Vec<_>, _>>()?;
    let ports: BTreeSet<_> = places.iter().collect();
    ensure(ports.len() == 1, format!("{} outside ports for one endpoint", ports.len()))
}

fn udp_contended(translator: Translator) -> Seen {
    let field = Field::plain(translator)?;
    field.udp((B, 4000), S2)?;
    one_place([S1, S2, S3].map(|server| field.udp((A, 4000), server)))
}

fn tcp_contended(translator: Translator) -> Seen {
    let field = Field::plain(translator)?;
    Connection::open(&field, (B, 4000), S2)?;
    one_place([S1, S2, S3].map(|to| Connection::open(&field, (A, 4000), to).map(|c| c.mapped)))
}

fn ping_contended(translator: Translator) -> Seen {
    let field = Field::plain(translator)?;
    let id = |from, to: SocketAddrV4| match field.out(&Packet::ping(from, *to.ip(), 7)) {
        Some(packet) => Ok(outside(echo_id(&packet))),
        None => fails("a ping did not leave"),
    };
    id(B, S2)?;
    one_place([S1, S2, S3].map(|server| id(A, server)))
}

fn echo_id(packet: &Packet) -> u16 {
    use crate::packet::{Body, Icmp, IcmpBody};
    match &packet.body {
        Body::Icmp(Icmp { body: IcmpBody::Echo { id, .. }, .. }) => *id,
        Body::Icmp(_) | Body::Tcp(_) | Body::Udp(_) | Body::Raw(_) => 0,
    }
}

fn ping_answered(translator: Translator) -> Seen {
    let field = Field::plain(translator)?;
    for (host, id) in [(B, 7), (A, 7)] {
        let Some(ping) = field.out(&Packet::ping(host, *S1.ip(), id)) else {
            return fails("a ping did not leave");
        };
        let pong = Packet::pong(*S1.ip(), ping.ip.source, echo_id(&ping));
        let answered = field.back(&pong, host).is_some_and(|heard| echo_id(&heard) == id);
        ensure(answered, "the answer did not come back")?;
    }
    Ok(())
}

fn polluted(translator: Translator) -> Seen {
    let field = Field::plain(translator)?;
    field.outside.send(&Packet::udp(S2, outside(4000)).payload(b"unasked"));
    // Whatever the router makes of it, and answers, is over before the host speaks.
    field.outside.overhear(|heard| heard.quote().is_some());
    one_place([S1, S2, S3].map(|server| field.udp((A, 4000), server)))
}

fn loaded(translator: Translator) -> Seen {
    const PORTS: std::ops::Range<u16> = 20_000..20_256;
    let field = Field::plain(translator)?;
    let mut places: BTreeMap<Vec<u8>, BTreeSet<SocketAddrV4>> = BTreeMap::new();
    // Now one is first, now the other.
    for (host, server) in [(B, S2), (A, S1), (A, S2), (B, S1), (A, S3), (B, S3)] {
        for port in PORTS {
            let name = format!("{host}:{port}");
            let packet = Packet::udp((host, port), server).payload(name.as_bytes());
            field.host(host).send(&packet.id(unique_id()));
        }
    }
    for packet in field.outside.all().iter().filter(|p| p.ip.protocol == Protocol::UDP) {
        places.entry(packet.data().to_vec()).or_default().insert(packet.source());
    }
    ensure(places.len() == 2 * PORTS.len(), format!("{} of 512 endpoints seen", places.len()))?;
    let torn = places.values().filter(|places| places.len() > 1).count();
    ensure(torn == 0, format!("{torn} of 512 endpoints had several outside ports"))?;
    let taken: BTreeSet<_> = places.values().flatten().collect();
    ensure(taken.len() == places.len(), "endpoints shared outside ports")
}

fn udp_not_shared(translator: Translator) -> Seen {
    let field = Field::plain(translator)?;
    let (a, b) = (field.udp((A, 4000), S1)?, field.udp((B, 4000), S2)?);
    ensure(a != b, "two hosts had the same outside port towards two servers")
}

fn tcp_not_shared(translator: Translator) -> Seen {
    let field = Field::plain(translator)?;
    let a = Connection::open(&field, (A, 4000), S1)?;
    let b = Connection::open(&field, (B, 4000), S2)?;
    ensure(a.mapped != b.mapped, "two hosts had the same outside port towards two servers")
}

fn protocols_apart(translator: Translator) -> Seen {
    let field = Field::plain(translator)?;
    Connection::open(&field, (B, 4000), S1)?;
    let udp = field.udp((A, 4000), S1)?;
    ensure(udp == outside(4000), "UDP did not get the port that TCP of another host has")
}

fn payload_untouched(translator: Translator) -> Seen {
    let field = Field::plain(translator)?;
    let sip = format!("INVITE sip:x SIP/2.0\r\nVia: SIP/2.0/UDP {A}:5060\r\n\r\n");
    let packet = Packet::udp((A, 5060), (*S1.ip(), 5060)).payload(sip.as_bytes());
    let heard = field.out(&packet);
    ensure(heard.is_some_and(|heard| heard.data() == sip.as_bytes()), "a SIP request was changed")?;
    let ftp = b"PORT 10,0,0,2,15,160\r\n";
    let control = Connection::open(&field, (A, 4000), (*S1.ip(), 21))?;
    let sent = control.outward(crate::conformance::tcp::DATA).payload(ftp);
    let heard = field.out(&sent);
    ensure(heard.is_some_and(|heard| heard.data() == ftp), "an FTP command was changed")
}
