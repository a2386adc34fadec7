//! IPv6 by prefix (NPTv6, RFC 6296), with the real kernel's IPv6 at both ends.
//!
//! ```text
//!   client fd01:203:405:1::2 -- router -- 2001:db8:ffff::2 server 2001:db8:f::1 -- far 2001:db8:f::2
//!   outside 2001:db8:1:d550::2            (which has no route to fd01:203:405::/48)
//! ```

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{IpAddr, Ipv6Addr, Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::thread;
use std::time::Duration;

use vnet_tests::counters::Counters;
use vnet_tests::lab::{ETH, Lab, UPLINK};
use vnet_tests::link::Cable;
use vnet_tests::netns::Netns;
use vnet_tests::skip;
use vnet_tests::snapshot::Snapshot;
use vnet_tests::socket::PATIENCE;

use crate::scene::{PORT, wait_until};
use crate::tool_route::installed;

const NPT: [&str; 2] = ["--nptv6", "fd01:203:405::/48=2001:db8:1::/48"];
pub(crate) const CLIENT: &str = "fd01:203:405:1::2";
/// What the client is outside: with this subnet all checksums stay (RFC 6296 section 3.1).
const OUTSIDE: &str = "2001:db8:1:d550::2";
pub(crate) const FAR: &str = "2001:db8:f::2";
/// Who tells of what did not arrive, one hop after the other.
pub(crate) const ROUTER: [&str; 2] = ["fd01:203:405:1::1", "2001:db8:ffff::1"];
pub(crate) const SERVER: [&str; 2] = ["2001:db8:ffff::2", "2001:db8:f::1"];

pub(crate) struct Six {
    pub(crate) lab: Lab,
    pub(crate) far: Netns,
}

impl Six {
    /// The lab with IPv6, nothing attached.
    pub(crate) fn new() -> Self {
        let lab = Lab::new();
        let far = Netns::new("far");
        Cable::new((&lab.server, "eth1"), (&far, ETH)).plug();
        let client = &lab.client().netns;
        let ends = [
            (client, ETH, CLIENT),
            (&lab.router, "in0", ROUTER[0]),
            (&lab.router, UPLINK, ROUTER[1]),
            (&lab.server, ETH, SERVER[0]),
            (&lab.server, "eth1", SERVER[1]),
            (&far, ETH, FAR),
        ];
        for (n, (netns, device, address)) in (1..).zip(ends) {
            netns.ip(&format!("address add {address}/64 dev {device}"));
            // Who forwards asks for neighbours by such an address, and labs have none by themselves.
            netns.ip(&format!("address add fe80::{n}/64 dev {device}"));
        }
        for netns in [&lab.router, &lab.server] {
            netns.set_sysctl("net/ipv6/conf/all/forwarding", "1");
        }
        client.ip(&format!("-6 route add default via {}", ROUTER[0]));
        lab.router.ip(&format!("-6 route add 2001:db8:f::/64 via {}", SERVER[0]));
        lab.server.ip(&format!("-6 route add 2001:db8:1::/48 via {}", ROUTER[1]));
        far.ip(&format!("-6 route add default via {}", SERVER[1]));
        Self { lab, far }
    }

    /// The same, with the prefix translated.
    fn attached() -> Self {
        let six = Self::new();
        six.lab.attach(&NPT);
        six
    }

    pub(crate) fn client(&self) -> &Netns {
        &self.lab.client().netns
    }

    /// Both ends, each with the address the other one knows it by.
    fn ways(&self) -> [(&Netns, &'static str, &Netns, &'static str); 2] {
        [(self.client(), OUTSIDE, &self.far, FAR), (&self.far, FAR, self.client(), OUTSIDE)]
    }
}

pub(crate) fn at(address: &str, port: u16) -> SocketAddr {
    SocketAddr::new(address.parse().expect("an address"), port)
}

/// Sends so many bytes to who listens there. Returns whom it heard.
#[track_caller]
pub(crate) fn talk(from: &Netns, to: &Netns, address: &str, length: usize) -> IpAddr {
    let listener = to.run(|| TcpListener::bind((Ipv6Addr::UNSPECIFIED, PORT))).expect("it listens");
    let said: Vec<u8> = (0..length).map(|n| (n * 7 + n / 251) as u8).collect();
    let connect = || TcpStream::connect_timeout(&at(address, PORT), PATIENCE);
    let mut sender = from.run(connect).expect("it connects");
    let (mut stream, by) = listener.accept().expect("a connection comes");
    thread::scope(|scope| {
        scope.spawn(|| {
            sender.write_all(&said).expect("the other end listens");
            sender.shutdown(Shutdown::Write).expect("a connection can be closed");
        });
        stream.set_read_timeout(Some(PATIENCE)).expect("a socket takes a time limit");
        let mut heard = Vec::new();
        stream.read_to_end(&mut heard).expect("the other end goes on talking");
        assert!(heard == said, "{} bytes came of {length}, or differ", heard.len());
        by.ip()
    })
}

#[test]
fn rfc6296_3_2_pings_and_connections_both_ways() {
    let six = Six::attached();
    for (from, known, to, address) in six.ways() {
        from.must("ping", &["-6", "-n", "-c", "2", "-i", "0.2", "-W", "3", address]);
        assert_eq!(talk(from, to, address, 200_000), known.parse::<IpAddr>().expect("an address"));
    }
    let counted = Counters::of(&six.lab);
    for end in ["npt_out", "npt_in"] {
        assert!(counted.0.get(end).is_some_and(|packets| *packets > 10), "{end}: {counted:?}");
    }
    assert!(six.lab.flows().is_empty(), "no state is kept of it");
}

#[test]
fn rfc6296_3_a_closed_port_is_told_both_ways() {
    let six = Six::attached();
    for (from, _, _, address) in six.ways() {
        let socket = from.run(|| UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0))).expect("it binds");
        socket.connect(at(address, 9)).expect("a peer can be set");
        socket.set_read_timeout(Some(PATIENCE)).expect("a socket takes a time limit");
        socket.send(b"anybody?").expect("a datagram can be sent");
        let refused = socket.recv(&mut [0; 9]).expect_err("nobody is there");
        assert_eq!(refused.kind(), ErrorKind::ConnectionRefused, "{address}: {refused}");
    }
}

#[test]
fn rfc6296_3_traceroute_shows_the_way_from_both_ends() {
    if !installed("traceroute") {
        skip!("traceroute is not installed");
    }
    let six = Six::attached();
    let out = [ROUTER[0], SERVER[0], FAR];
    let back = [SERVER[1], ROUTER[1], OUTSIDE];
    for ((from, _, _, address), hops) in six.ways().into_iter().zip([out, back]) {
        for way in ["-U", "-I"] {
            let words = ["-6", "-n", "-q", "1", "-w", "3", way, "-p", "9", address];
            let words = words.iter().filter(|word| way == "-U" || !["-p", "9"].contains(word));
            let said = from.must("traceroute", &words.copied().collect::<Vec<_>>());
            let seen: Vec<_> = said.lines().skip(1).collect();
            assert_eq!(seen.len(), hops.len(), "{way} {address}: {said}");
            for (line, hop) in seen.iter().zip(hops) {
                assert_eq!(line.split_whitespace().nth(1), Some(hop), "{way} {address}: {said}");
            }
        }
    }
}

#[test]
fn rfc6296_3_narrow_places_are_found_from_both_ends() {
    // Beyond the server, whose error comes in; and inside, whose error this host's own kernel makes.
    let narrow = |six: &Six, place: &str| match place {
        "outside" => {
            six.lab.server.ip("link set eth1 mtu 1300");
            six.far.ip("link set eth0 mtu 1300");
        }
        _ => {
            six.lab.router.ip("link set in0 mtu 1300");
            six.client().ip("link set eth0 mtu 1300");
        }
    };
    for (place, sender) in [("outside", 0), ("inside", 1)] {
        let six = Six::attached();
        narrow(&six, place);
        // Who is in the narrow place would say in its SYN how little it takes: so it asks for more.
        let (from, _, to, address) = six.ways()[sender];
        to.ip(&format!("-6 route change {}", advertising(to)));
        talk(from, to, address, 100_000);
        let learnt = || from.ip(&format!("-6 route get {address}")).contains("mtu 1300");
        wait_until("the path's MTU is known", Duration::from_secs(3), learnt);
    }
}

/// The default route of a machine, with an MSS as if its link were as wide as all others.
pub(crate) fn advertising(netns: &Netns) -> String {
    let route = netns.ip("-6 route show default");
    let words: Vec<_> = route.split_whitespace().take(5).collect();
    format!("{} advmss 1440", words.join(" "))
}

#[test]
fn rfc6296_detached_nothing_is_left_and_nobody_is_reached() {
    let six = Six::new();
    let before = Snapshot::of(&six.lab);
    six.lab.attach(&NPT);
    let ping = ["-6", "-n", "-c", "1", "-W", "1", OUTSIDE];
    six.far.must("ping", &ping);
    six.lab.vnetctl(&["detach", UPLINK]).ok();
    Snapshot::of(&six.lab).assert_same(&before);
    let reached = six.far.command("ping", &ping).output().expect("ping runs");
    assert!(!reached.status.success(), "who is reached though nothing translates?");
    // The way to the router itself is as good as before.
    six.far.must("ping", &["-6", "-n", "-c", "1", "-W", "3", ROUTER[1]]);
}
