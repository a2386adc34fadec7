//! Masqueraded IPv6 in fragments, in every order: on the wire outside they are those of one datagram,
//! of the sizes they had, first one first, and nobody inside is ever seen there.

use std::net::{Ipv6Addr, UdpSocket};
use std::time::{Duration, Instant};

use vnet_tests::counters::Counters;
use vnet_tests::datapath::frame6;
use vnet_tests::lab::UPLINK;
use vnet_tests::packet::Mac;
use vnet_tests::packet6::{Packet6, Piece};
use vnet_tests::sentry::Sentry;
use vnet_tests::snapshot::Snapshot;
use vnet_tests::wire::{PATIENCE, Wire};

use crate::nat66::{masqueraded, udp};
use crate::npt::{CLIENT, ROUTER, SERVER, Six};

/// A lab where hardware addresses are known, somebody with open eyes at either end of the router,
/// and one who watches.
struct Story {
    inside: Wire,
    outer: Wire,
    /// Destination and source of frames from the client, and of such from the server.
    stations: [[Mac; 2]; 2],
    sentry: Sentry,
    six: Six,
}

impl Story {
    fn new() -> Self {
        let six = masqueraded();
        six.client().must("ping", &["-6", "-n", "-c", "1", "-W", "3", SERVER[0]]);
        let (lab, client) = (&six.lab, six.lab.client());
        Self {
            inside: Wire::open(&client.netns, &client.port),
            outer: Wire::open(&lab.server, &lab.server_port),
            stations: [
                [client.router_port.mac, client.port.mac],
                [lab.uplink.mac, lab.server_port.mac],
            ],
            sentry: Sentry::post6(lab),
            six,
        }
    }

    /// Sends fragments from the client, in this order, and hears as many outside.
    fn out(&self, cut: &[Vec<u8>], order: &[usize]) -> Vec<Packet6> {
        order.iter().for_each(|at| self.inside.send(&frame(self.stations[0], &cut[*at])));
        hear(&self.outer, address(ROUTER[1]), cut.len())
    }

    /// Sends fragments from the server, and hears as many inside.
    fn back(&self, cut: &[Vec<u8>], order: &[usize]) -> Vec<Packet6> {
        order.iter().for_each(|at| self.outer.send(&frame(self.stations[1], &cut[*at])));
        hear(&self.inside, address(SERVER[0]), cut.len())
    }

    #[track_caller]
    fn end(self) {
        assert!(self.sentry.relieve() > 0, "the sentry has seen something");
        self.six.lab.vnetctl(&["detach", UPLINK]).ok();
    }
}

fn address(text: &str) -> Ipv6Addr {
    text.parse().expect("an address")
}

fn frame([to, from]: [Mac; 2], packet: &[u8]) -> Vec<u8> {
    let mut frame = frame6(packet);
    frame[..6].copy_from_slice(&to.0);
    frame[6..12].copy_from_slice(&from.0);
    frame
}

/// The next fragments from there, or however many come.
fn hear(wire: &Wire, from: Ipv6Addr, count: usize) -> Vec<Packet6> {
    let until = Instant::now() + PATIENCE;
    let frames = std::iter::from_fn(|| wire.receive(until));
    let packets = frames.filter_map(|frame| Packet6::read_frame(&frame));
    let pieces = packets.filter(|packet| packet.source == from && packet.as_piece().is_some());
    pieces.take(count).collect()
}

/// The datagram that these are; in the order they came in.
#[track_caller]
fn joined(pieces: &[Packet6], what: &dyn std::fmt::Debug) -> Packet6 {
    let Some(whole) = Packet6::joined(pieces) else { panic!("{what:?}: no datagram: {pieces:?}") };
    assert!(whole.is_right(), "{what:?}: {whole:?}");
    whole
}

/// Every order of four.
fn orders() -> Vec<[usize; 4]> {
    let all = (0..256).map(|n| [n & 3, n >> 2 & 3, n >> 4 & 3, n >> 6]);
    all.filter(|order| (0..4).all(|at| order.contains(&at))).collect()
}

fn long(length: usize) -> Vec<u8> {
    (0..length).map(|n| (n * 7 + n / 251) as u8).collect()
}

/// Lengths of the fragments that leave in order when they come in order.
fn sizes(cut: &[Vec<u8>]) -> Vec<usize> {
    cut.iter().map(Vec::len).collect()
}

fn sizes_of(pieces: &[Packet6]) -> Vec<usize> {
    pieces.iter().map(|piece| piece.bytes().len()).collect()
}

#[test]
fn rfc4787_req14_datagrams_in_every_order_both_ways() {
    let story = Story::new();
    let remote = (address(SERVER[0]), 5000);
    let sockets = [udp(story.six.client(), 4000), udp(&story.six.lab.server, 5000)];
    let before = Counters::of(&story.six.lab);
    for (id, order) in (100..).zip(orders()) {
        let said = long(800 + id as usize);
        let sent = Packet6::udp((address(CLIENT), 4000), remote, &said);
        let cut = sent.pieces(id, 256);
        let left = story.out(&cut, &order);
        let whole = joined(&in_order(left.clone(), order[0] == 0), &order);
        assert_eq!((whole.ports(), whole.hops), ((4000, 5000), 63), "{order:?}");
        assert!(sizes_of(&in_order(left, order[0] == 0)) == sizes(&cut), "{order:?}");
        hears(&sockets[1], &said);
        let answer = Packet6::udp(remote, (address(ROUTER[1]), 4000), &said);
        let cut = answer.pieces(id, 256);
        let came = in_order(story.back(&cut, &order), order[0] == 0);
        let whole = joined(&came, &order);
        assert_eq!((whole.destination, whole.hops), (address(CLIENT), 63), "{order:?}");
        assert_eq!(came[0].as_piece().map(|(piece, _)| piece.id), Some(id), "inward the id stays");
        assert!(sizes_of(&came) == sizes(&cut), "{order:?}");
        hears(&sockets[0], &said);
    }
    // Of 24 orders six begin with the first; in the others all four go by way of the sorter.
    let moved = Counters::of(&story.six.lab).since(&before);
    let count = |end| moved.get(end).copied().unwrap_or(0);
    assert_eq!(["nat_out", "nat_in"].map(count), [24 * 4; 2], "{moved:?}");
    assert_eq!(["sorted", "fragment", "fragment_in"].map(count), [2 * 18 * 4, 0, 0], "{moved:?}");
    story.end();
}

/// What came after its first keeps its order; what was sorted is in the right one already.
fn in_order(mut pieces: Vec<Packet6>, sort: bool) -> Vec<Packet6> {
    if sort {
        pieces.sort_by_key(|piece| piece.as_piece().map_or(0, |(piece, _)| piece.offset));
    }
    pieces
}

#[track_caller]
fn hears(socket: &UdpSocket, said: &[u8]) {
    let mut heard = [0; 2000];
    let length = socket.recv(&mut heard).expect("a datagram comes");
    assert!(heard[..length] == *said, "{length} bytes came, or others");
}

#[test]
fn rfc4787_req14_tcp_and_pings_out_of_order_both_ways() {
    let story = Story::new();
    let (client, own, remote) = (address(CLIENT), address(ROUTER[1]), address(SERVER[0]));
    let data = long(500);
    let ways = [
        (
            Packet6::tcp((client, 4000), (remote, 9), 2, &data),
            Packet6::tcp((remote, 9), (own, 4000), 0x12, &data),
        ),
        (
            Packet6::ping_with(client, remote, (128, 7), &data),
            Packet6::ping_with(remote, own, (129, 7), &data),
        ),
        (
            Packet6::udp((client, 4001), (remote, 9), &data).extended(),
            Packet6::udp((remote, 9), (own, 4001), &data).extended(),
        ),
    ];
    for (n, (sent, answer)) in (0..).zip(ways) {
        for (id, order) in (10 * n..).zip([[2, 1, 0], [1, 0, 2]]) {
            let whole = joined(&story.out(&sent.pieces(id, 200), &order), &sent);
            assert_eq!((whole.source, whole.extended), (own, sent.extended));
            let whole = joined(&story.back(&answer.pieces(id, 200), &order), &answer);
            assert_eq!((whole.destination, whole.extended), (client, sent.extended));
        }
    }
    story.end();
}

#[test]
fn rfc8200_4_5_equal_ids_of_two_hosts_do_not_mix() {
    let story = Story::new();
    let other = "fd01:203:405:1::3";
    let remote = (address(SERVER[0]), 5000);
    let said = [long(700), long(700).into_iter().rev().collect()];
    let hosts = [CLIENT, other].map(|host| (address(host), 4000));
    let cut = [0, 1].map(|n| Packet6::udp(hosts[n], remote, &said[n]).pieces(77, 256));
    for at in [2, 1, 0] {
        for cut in &cut {
            story.inside.send(&frame(story.stations[0], &cut[at]));
        }
    }
    let left = hear(&story.outer, address(ROUTER[1]), 6);
    let id = |piece: &Packet6| piece.as_piece().map(|(piece, _)| piece.id);
    let (one, two): (Vec<_>, Vec<_>) = left.iter().cloned().partition(|it| id(it) == id(&left[0]));
    let [one, two] = [one, two].map(|pieces| joined(&pieces, &"two hosts"));
    assert_ne!(one.ports().0, two.ports().0);
    let mut heard = [&one.body[8..], &two.body[8..]];
    let mut wanted = [&said[0][..], &said[1][..]];
    heard.sort_unstable();
    wanted.sort_unstable();
    assert!(heard == wanted, "their data is what they said");
    story.end();
}

#[test]
fn rfc8200_5_what_fits_without_a_fragment_header_comes_whole() {
    let story = Story::new();
    let remote = (address(SERVER[0]), 5000);
    let socket = udp(&story.six.lab.server, 5000);
    // The last fragment has no more data than a fragment header is long.
    let said = long(8 + 256 - 8);
    let cut = Packet6::udp((address(CLIENT), 4000), remote, &said).pieces(5, 256);
    assert_eq!(cut.len(), 2);
    for at in [1, 0] {
        story.inside.send(&frame(story.stations[0], &cut[at]));
    }
    hears(&socket, &said);
    story.end();
}

#[test]
fn rfc5722_4_overlapping_fragments_do_not_pass_in_any_order() {
    let story = Story::new();
    let remote = (address(SERVER[0]), 5000);
    let sent = Packet6::udp((address(CLIENT), 4000), remote, &long(600));
    let cut = sent.pieces(9, 256);
    let over = sent.piece(Piece { next: 17, offset: 248, more: true, id: 9 }, &[9; 256]);
    // Sorted, the kernel discards all of it.
    for piece in [&cut[2], &over, &cut[1], &cut[0]] {
        story.inside.send(&frame(story.stations[0], piece));
    }
    // In order, the datapath ends all that follow.
    let before = Counters::of(&story.six.lab);
    let sent = Packet6 { source: address("fd01:203:405:1::3"), ..sent };
    let cut = sent.pieces(10, 256);
    let over = sent.piece(Piece { next: 17, offset: 248, more: true, id: 10 }, &[9; 256]);
    for piece in [&cut[0], &over, &cut[1], &cut[2]] {
        story.inside.send(&frame(story.stations[0], piece));
    }
    let left = story
        .out(&Packet6::udp((address(CLIENT), 1), remote, &long(600)).pieces(11, 256), &[0, 1, 2]);
    let offsets: Vec<_> = left.iter().filter_map(|it| Some(it.as_piece()?.0.offset)).collect();
    assert_eq!(offsets, [0, 0, 256], "of the others only one first fragment has left");
    let moved = Counters::of(&story.six.lab).since(&before);
    assert_eq!(moved.get("fragment_overlap"), Some(&3), "{moved:?}");
    story.end();
}

#[test]
fn a_flood_of_ends_without_a_beginning_hurts_nobody() {
    let story = Story::new();
    let (client, own, remote) = (address(CLIENT), address(ROUTER[1]), address(SERVER[0]));
    let end = Piece { next: 17, offset: 1024, more: false, id: 0 };
    let datagram = Packet6::udp((remote, 5000), (own, 4000), b"");
    for id in 0..20_000 {
        story
            .outer
            .send(&frame(story.stations[1], &datagram.piece(Piece { id, ..end }, &[0; 512])));
    }
    let sent = Packet6::udp((client, 4000), (remote, 5000), &long(700));
    let whole = joined(&story.out(&sent.pieces(5, 256), &[0, 1, 2]), &"in order");
    assert_eq!(whole.source, own);
    // What waits in the kernel is forgotten soon when there is more of it than may wait.
    let until = Instant::now() + Duration::from_secs(40);
    let mut ids = 100..;
    while Instant::now() < until {
        let id = ids.next().unwrap_or_default();
        let cut = sent.pieces(id, 256);
        [2, 0, 1].iter().for_each(|at| story.inside.send(&frame(story.stations[0], &cut[*at])));
        let soon = Instant::now() + Duration::from_millis(500);
        let mut heard = std::iter::from_fn(|| story.outer.receive(soon))
            .filter_map(|frame| Packet6::read_frame(&frame))
            .filter(|packet| packet.source == own && packet.as_piece().is_some());
        if heard.nth(2).is_some() {
            return story.end();
        }
    }
    panic!("out of order nothing passed any more");
}

#[test]
fn a_sorter_for_both_families_goes_without_a_trace() {
    let six = Six::new();
    let before = Snapshot::of(&six.lab);
    six.lab.attach(&["--nat66"]);
    let status = six.lab.vnetctl(&["-j", "status"]).ok().json();
    assert_eq!((&status[0]["fragments"], &status[0]["health"]), (&"sort".into(), &"ok".into()));
    six.lab.vnetctl(&["detach", UPLINK]).ok();
    Snapshot::of(&six.lab).assert_same(&before);
}
