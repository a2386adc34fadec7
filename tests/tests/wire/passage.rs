//! One conversation of each kind from somebody inside to somebody outside, over devices of any kind.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::thread;

use vnet_tests::counters::Counters;
use vnet_tests::lab::Lab;
use vnet_tests::netns::Netns;
use vnet_tests::ping::Pinger;
use vnet_tests::socket::{PATIENCE, receive, try_receive};

use crate::scene::{PORT, ask, bulk, echo};
use crate::{nat66, npt};

/// Bytes said over TCP: many segments, quick even where a process carries each packet.
const BULK: usize = 100_000;

/// Somebody with an address.
#[derive(Clone, Copy)]
pub(crate) struct End<'a> {
    pub(crate) netns: &'a Netns,
    pub(crate) address: Ipv4Addr,
}

/// From inside to outside through the lab's router.
pub(crate) struct Passage<'a> {
    pub(crate) lab: &'a Lab,
    pub(crate) uplink: &'a str,
    pub(crate) outside: Ipv4Addr,
    pub(crate) client: End<'a>,
    pub(crate) server: End<'a>,
}

impl Passage<'_> {
    /// Attaches with these words for who is inside, and talks; then every end that was met is one
    /// that a healthy NAT has.
    #[track_caller]
    pub(crate) fn attach(&self, inside: &str) {
        let words = ["attach", "--nat", self.uplink, "--inside", inside];
        self.lab.vnetctl(&words).ok();
        let status = self.lab.vnetctl(&["status", "--json"]).ok().json();
        assert_eq!(status[0]["health"], "ok", "{status}");
        assert_eq!(status[0]["outside"], self.outside.to_string(), "{status}");
    }

    /// TCP, UDP, pings and errors, in both directions; and conversations that go on take the shortcut,
    /// translated or, by IPv6, only routed.
    #[track_caller]
    pub(crate) fn is_open(&self) {
        self.lets_talk();
        self.is_short();
        self.is_short_by_ipv6();
    }

    /// TCP, UDP, pings and errors, in both directions.
    #[track_caller]
    pub(crate) fn lets_talk(&self) {
        let before = Counters::of(self.lab);
        self.datagrams();
        self.connection();
        let pinger = Pinger::new(self.client.netns);
        let pong = pinger.ping(self.server.address, 7, PATIENCE);
        assert!(pong.is_some(), "no answer to a ping over {}", self.uplink);
        self.refusal_from_outside();
        self.refusal_from_inside();
        self.only_good_ends(&Counters::of(self.lab).since(&before));
    }

    /// A conversation that goes on takes the shortcut, in both directions.
    #[track_caller]
    fn is_short(&self) {
        let moved = self.goes_on();
        // Once a second one of each direction takes the kernel's way.
        for name in ["shortcut_out", "shortcut_in"] {
            assert!(moved.get(name).is_some_and(|moved| *moved >= 5), "{name}: {moved:?}");
        }
    }

    /// The same by IPv6, which both ends and the router get for it.
    #[track_caller]
    fn is_short_by_ipv6(&self) {
        let (client, server, router) = (self.client.netns, self.server.netns, &self.lab.router);
        let inside = router.ip(&format!("-4 -o route get {}", self.client.address));
        let at_server = server.ip(&format!("-4 -o address show to {}", self.server.address));
        let ends = [
            (client, "eth0", "77::2"),
            (router, word_after(&inside, "dev"), "77::1"),
            (router, self.uplink, "88::1"),
            (server, at_server.split_whitespace().nth(1).expect("a device"), "88::2"),
        ];
        for (n, (netns, device, address)) in (1..).zip(ends) {
            netns.ip(&format!("address add 2001:db8:{address}/64 dev {device} nodad"));
            // Who forwards asks for neighbours by such an address, and labs have none by themselves.
            netns.ip(&format!("address add fe80::7:{n}/64 dev {device} nodad"));
        }
        router.set_sysctl("net/ipv6/conf/all/forwarding", "1");
        client.ip("-6 route add default via 2001:db8:77::1");
        server.ip("-6 route add 2001:db8:77::/64 via 2001:db8:88::1");
        let (near, far) = (nat66::udp(client, 4006), nat66::udp(server, PORT));
        let ask = || {
            near.send_to(b"question", npt::at("2001:db8:88::2", PORT)).expect("a datagram is sent");
            let (_, from) = far.recv_from(&mut [0; 9]).expect("the question arrives");
            assert_eq!(from, npt::at("2001:db8:77::2", 4006));
            far.send_to(b"answer", from).expect("a datagram can be sent");
            near.recv_from(&mut [0; 9]).expect("the answer arrives");
        };
        ask();
        ask();
        let before = Counters::of(self.lab);
        (0..8).for_each(|_| ask());
        let moved = Counters::of(self.lab).since(&before);
        // Once a second one of each direction takes the kernel's way.
        assert!(moved.get("shortcut_routed").is_some_and(|moved| *moved >= 10), "{moved:?}");
    }

    /// A conversation that goes on takes the kernel's way all the time.
    #[track_caller]
    pub(crate) fn is_long(&self) {
        let moved = self.goes_on();
        assert!(!moved.keys().any(|name| name.starts_with("shortcut")), "{moved:?}");
    }

    /// What a conversation's packets meet once it goes on.
    #[track_caller]
    fn goes_on(&self) -> BTreeMap<String, i128> {
        let remote = self.server.netns.udp((self.server.address, PORT));
        let client = self.client.netns.udp((self.client.address, 4005));
        ask(&client, &remote);
        ask(&client, &remote);
        let before = Counters::of(self.lab);
        for _ in 0..8 {
            assert_eq!(ask(&client, &remote), self.seen(4005));
        }
        Counters::of(self.lab).since(&before)
    }

    fn datagrams(&self) {
        let remote = self.server.netns.udp((self.server.address, PORT));
        let client = self.client.netns.udp((self.client.address, 4000));
        assert_eq!(ask(&client, &remote), self.seen(4000));
        // One so large that it only just fits, in both directions.
        let large = vec![b'x'; 1372];
        client.send_to(&large, (self.server.address, PORT)).expect("a datagram can be sent");
        let (heard, from) = receive(&remote);
        remote.send_to(&heard, from).expect("a datagram can be sent");
        assert_eq!(receive(&client).0, large);
    }

    fn connection(&self) {
        let listener = self.server.netns.listen((self.server.address, PORT));
        let from = thread::scope(|scope| {
            let served = scope.spawn(|| echo(&listener));
            let server = (self.server.address, PORT);
            let stream = self.client.netns.connect((self.client.address, 4001), server);
            bulk(&stream.expect("connects"), BULK);
            served.join().expect("the server does not panic")
        });
        assert_eq!(from, self.seen(4001));
    }

    fn refusal_from_outside(&self) {
        let client = self.client.netns.udp((self.client.address, 4002));
        client.connect((self.server.address, 5999)).expect("a UDP socket can be connected");
        client.send(b"anybody?").expect("a datagram can be sent");
        let refused = try_receive(&client).expect_err("nobody is there");
        assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    }

    fn refusal_from_inside(&self) {
        let remote = self.server.netns.udp((self.server.address, PORT));
        let client = self.client.netns.udp((self.client.address, 4003));
        ask(&client, &remote);
        drop(client);
        remote.connect(self.seen(4003)).expect("a UDP socket can be connected");
        remote.send(b"still there?").expect("a datagram can be sent");
        let refused = try_receive(&remote).expect_err("nobody is there any more");
        assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    }

    fn seen(&self, port: u16) -> SocketAddrV4 {
        SocketAddrV4::new(self.outside, port)
    }

    #[track_caller]
    fn only_good_ends(&self, moved: &BTreeMap<String, i128>) {
        let needed = ["nat_out", "nat_in", "icmp_error_out", "icmp_error_in"];
        for name in needed {
            assert!(moved.contains_key(name), "{name} was not counted: {moved:?}");
        }
        // Seen beside them: ARP, the inside device's own packets, and what tunnels carry.
        let known = [
            "not_ip",
            "ipv6",
            "inside",
            "host",
            "unsolicited",
            "multicast",
            "shortcut_out",
            "shortcut_in",
        ];
        let bad =
            moved.keys().find(|name| ![&needed[..], &known].concat().contains(&name.as_str()));
        assert!(bad.is_none(), "{moved:?}");
    }
}

/// The word after another one.
fn word_after<'a>(text: &'a str, word: &str) -> &'a str {
    let mut words = text.split_whitespace();
    words.find(|found| *found == word);
    words.next().expect("there is one")
}
