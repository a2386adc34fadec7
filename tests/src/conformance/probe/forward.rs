//! Ports of the outside address that lead to servers inside.

use std::net::SocketAddrV4;
use std::time::{Duration, Instant};

use crate::conformance::Level::Must;
use crate::conformance::field::{A, B, B_BRIDGED, Field, S1, S2, carry, outside, unique_id};
use crate::conformance::tcp::SYN_ACK;
use crate::conformance::translator::Wish;
use crate::conformance::{Miss, Requirement, Seen, Translator, ensure, fails};
use crate::lab::Lab;
use crate::packet::{Body, Endpoint as _, Packet, TcpFlags};

pub(super) const LIST: &[Requirement] = &[
    Requirement::new(
        (Must, "vnet"),
        "nat_forward_reaches_the_server_inside",
        "A forwarded port of the outside address leads to a server inside, which sees the real \
         client; its answers come from the forwarded port (UDP and TCP).",
        from_outside,
    ),
    Requirement::new(
        (Must, "vnet"),
        "nat_forward_of_a_range",
        "Ten thousand ports are forwarded by one command, each to its own counterpart.",
        range,
    ),
    Requirement::new(
        (Must, "RFC 4787 REQ-9"),
        "rfc4787_req9_hairpin_to_a_forward",
        "Hosts inside reach a forwarded server by the outside address too: on its own device, on \
         another, and the server itself.",
        from_inside,
    ),
    Requirement::new(
        (Must, "vnet"),
        "nat_forward_reached_by_the_router_itself",
        "Programs of the router reach it by the outside address.",
        |translator| from_router(translator, outside(8080)),
    ),
    Requirement::new(
        (Must, "vnet"),
        "nat_forward_reached_by_localhost",
        "Programs of the router reach it by 127.0.0.1, and route_localnet stays off.",
        from_localhost,
    ),
    Requirement::new(
        (Must, "vnet"),
        "nat_forward_clash_is_refused",
        "A forward of a port that a program of the router listens on, or that is forwarded \
         already, is refused, with the owner's name.",
        clash,
    ),
    Requirement::new(
        (Must, "vnet"),
        "nat_forward_change_moves_running_senders",
        "When a forward is changed, a client that goes on sending reaches the new server within a \
         second.",
        change,
    ),
];

/// Words of a forward, for either translator.
fn forward(field: &Field, name: &str, words: [&str; 3]) -> Seen {
    match field.translator {
        Translator::Vnet => {
            let [protocol, from, to] = words;
            let (_, ports) = from.split_once(':').expect("an address and a port");
            let done = field.lab.vnetctl(&["forward", "add", protocol, ports, to, "--name", name]);
            if done.status.code() == Some(2) {
                return Err(Miss::NotOffered("no `vnetctl forward`".to_owned()));
            }
            if done.status.success() { Ok(()) } else { fails(done.stderr) }
        }
        Translator::Nft => {
            let [protocol, from, to] = words;
            let (address, port) = from.split_once(':').expect("an address and a port");
            let forward = format!("ip daddr {address} {protocol} dport {port} dnat to {to}");
            // As guides have it: also for the router's own packets, and with its address for hosts
            // that are the server's neighbours.
            let rule = format!(
                "flush chain ip nat in; add rule ip nat in {forward}; \
                 add chain ip nat own {{ type nat hook output priority -100; }}; \
                 flush chain ip nat own; add rule ip nat own {forward}; \
                 add rule ip nat out ip saddr 10.0.0.0/16 ip daddr 10.0.0.0/16 masquerade"
            );
            field.lab.router.must("nft", &[&rule]);
            Ok(())
        }
    }
}

const UDP: [&str; 3] = ["udp", "198.51.100.1:8080", "10.0.0.2:80"];
const TCP: [&str; 3] = ["tcp", "198.51.100.1:8080", "10.0.0.2:80"];

/// A lab with a forward to port 80 of host a.
fn forwarded(translator: Translator, words: [&str; 3]) -> Result<Field, Miss> {
    let field = Field::plain(translator)?;
    forward(&field, "web", words)?;
    Ok(field)
}

/// A datagram to the forward arrives at host a as from `seen`, and the answer finds back.
fn served(field: &Field, from: &crate::conformance::field::Station, client: SocketAddrV4) -> Seen {
    let question = Packet::udp(client, outside(8080)).payload(b"question");
    let Some(heard) = carry(from, &field.a, &question) else {
        return fails("a packet to the forward did not arrive");
    };
    ensure(heard.destination() == (A, 80).endpoint(), "it arrived at another port")?;
    let answer = Packet::udp((A, 80), heard.source()).payload(b"answer");
    let Some(back) = carry(&field.a, from, &answer) else {
        return fails("the server's answer did not arrive");
    };
    let right = (back.source(), back.destination()) == (outside(8080), client);
    ensure(right, format!("the answer came from {}", back.source()))
}

fn from_outside(translator: Translator) -> Seen {
    let field = forwarded(translator, UDP)?;
    let heard = field.back(&Packet::udp(S1, outside(8080)), A);
    let real = heard.map(|heard| heard.source());
    ensure(real == Some(S1), "the server does not see the client's address")?;
    served(&field, &field.outside, S1)?;
    served(&field, &field.outside, S2)?;
    let field = forwarded(translator, TCP)?;
    let syn = Packet::tcp(S1, outside(8080), TcpFlags::SYN).numbers(7, 0);
    let heard = field.back(&syn, A);
    let right = heard.is_some_and(|heard| heard.destination() == (A, 80).endpoint());
    ensure(right, "a SYN did not arrive")?;
    let left = field.out(&Packet::tcp((A, 80), S1, SYN_ACK).numbers(9, 8));
    let right = left.is_some_and(|left| left.source() == outside(8080));
    ensure(right, "its answer did not come from the forward")
}

fn range(translator: Translator) -> Seen {
    let field = forwarded(translator, ["udp", "198.51.100.1:20000-29999", "10.0.0.2"])?;
    for port in [20_000, 20_001, 24_567, 29_999] {
        let heard = field.back(&Packet::udp(S1, outside(port)), A);
        let right = heard.is_some_and(|heard| heard.destination() == (A, port).endpoint());
        ensure(right, format!("port {port} did not arrive"))?;
    }
    let outside_of_it = field.intrudes(&Packet::udp(S1, outside(30_000)), A);
    ensure(!outside_of_it, "a port beyond the range arrived")
}

fn from_inside(translator: Translator) -> Seen {
    let field = forwarded(translator, UDP)?;
    served(&field, &field.b, (B, 4000).endpoint())?;
    served(&field, &field.a, (A, 4000).endpoint())?;
    let field = Field::build(translator, &Wish::plain(), Lab::plan().bridged())?;
    forward(&field, "web", UDP)?;
    served(&field, &field.b, (B_BRIDGED, 4000).endpoint())
}

/// A datagram of a program of the router to the forward, and the answer.
fn from_router(translator: Translator, to: SocketAddrV4) -> Seen {
    let field = forwarded(translator, UDP)?;
    asked_by_router(&field, to)
}

fn asked_by_router(field: &Field, to: SocketAddrV4) -> Seen {
    let client = field.lab.router.udp("0.0.0.0:0");
    let asked = field.lab.router.run(|| client.connect(to)).and_then(|()| client.send(b"question"));
    ensure(asked.is_ok(), "it cannot be sent")?;
    let heard = field.a.hear(|heard| heard.data() == b"question");
    let Some(heard) = heard else { return fails("it did not arrive at the server") };
    ensure(heard.destination() == (A, 80).endpoint(), "it arrived at another port")?;
    field.a.send(&Packet::udp((A, 80), heard.source()).payload(b"answer").id(unique_id()));
    let mut answer = [0; 16];
    let length = client.recv(&mut answer).unwrap_or(0);
    ensure(&answer[..length] == b"answer", "the answer did not arrive")
}

fn from_localhost(translator: Translator) -> Seen {
    let field = forwarded(translator, UDP)?;
    if translator == Translator::Nft {
        let local = "add rule ip nat own ip daddr 127.0.0.1 udp dport 8080 dnat to 10.0.0.2:80; \
                     add rule ip nat out ip saddr 127.0.0.0/8 masquerade";
        field.lab.router.must("nft", &[local]);
    }
    asked_by_router(&field, SocketAddrV4::new([127, 0, 0, 1].into(), 8080))?;
    let routed = field.lab.router.sysctl("net/ipv4/conf/all/route_localnet");
    ensure(routed.as_deref() == Some("0"), "route_localnet was switched on")
}

fn clash(translator: Translator) -> Seen {
    let field = Field::plain(translator)?;
    let _service = field.lab.router.listen(outside(8080));
    match forward(&field, "web", TCP) {
        Ok(()) => return fails("the port of a program that listens was forwarded"),
        Err(Miss::NotOffered(why)) => return Err(Miss::NotOffered(why)),
        Err(Miss::Fails(_)) => {}
    }
    forward(&field, "web", UDP)?;
    let again = forward(&field, "other", ["udp", "198.51.100.1:8080", "10.0.1.2:80"]);
    ensure(again.is_err(), "one port was forwarded to two servers")
}

fn change(translator: Translator) -> Seen {
    let field = forwarded(translator, UDP)?;
    served(&field, &field.outside, S1)?;
    forward(&field, "web", ["udp", "198.51.100.1:8080", "10.0.1.2:80"])?;
    let until = Instant::now() + Duration::from_secs(1);
    while Instant::now() < until {
        field.outside.send(&Packet::udp(S1, outside(8080)).payload(b"on").id(unique_id()));
        if field.b.overhear(|heard| matches!(heard.body, Body::Udp(_))).is_some() {
            return Ok(());
        }
    }
    fails("it still goes to the old server")
}
