//! Programs that look at the way: traceroute, mtr, tracepath and ping see through the NAT what they
//! would see without it, and nobody outside sees who is inside.

use std::net::Ipv4Addr;

use vnet_tests::lab::{Lab, OUTSIDE, server_address};
use vnet_tests::netns::Netns;
use vnet_tests::packet::{Packet, assert_valid};
use vnet_tests::skip;
use vnet_tests::wire::Wire;

use crate::path::{far, narrow};
use crate::scene::{Scene, ask, outside, server};

/// The machine behind the server.
const FAR: &str = "203.0.113.2";

/// Whether a program is installed here.
pub(crate) fn installed(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let admin = ["/usr/sbin", "/sbin"].map(Into::into);
    std::env::split_paths(&path).chain(admin).any(|folder| folder.join(program).exists())
}

/// The way from the client to [`FAR`], hop by hop.
fn hops() -> [Ipv4Addr; 3] {
    [[10, 0, 0, 1].into(), server_address(0), FAR.parse().expect("an address")]
}

/// Runs a program in the client; it must succeed.
fn run(scene: &Scene, program: &str, words: &str) -> String {
    let words: Vec<_> = words.split_whitespace().collect();
    scene.lab.client().netns.must(program, &words)
}

/// Asserts that each hop has a line that begins with its number and address.
#[track_caller]
fn shows_hops(said: &str, mark: &str) {
    for (n, hop) in (1..).zip(hops()) {
        let line = said.lines().map(str::trim_start).find(|line| {
            let rest = line.strip_prefix(&format!("{n}")).map(|rest| rest.replace(mark, " "));
            rest.is_some_and(|rest| rest.split_whitespace().next() == Some(&hop.to_string()))
        });
        assert!(line.is_some(), "hop {n} should be {hop}:\n{said}");
    }
}

#[test]
fn traceroute_by_udp_icmp_and_tcp() {
    if !installed("traceroute") {
        skip!("traceroute is not installed");
    }
    let scene = Scene::new();
    let (far, remote) = far(&scene);
    let _listener = far.listen(remote);
    // The last one by packets that just fit, of which hops quote little.
    for way in ["", "-U -p 53", "-I", "-T -p 5000", "-T -p 81", "-F"] {
        let length = if way == "-F" { "1500" } else { "60" };
        let said = run(&scene, "traceroute", &format!("-n -q 1 -w 3 {way} {FAR} {length}"));
        shows_hops(&said, " ");
        assert!(!said.contains('*') && !said.contains('!'), "{way}: {said}");
    }
    scene.end();
}

#[test]
fn mtr_by_icmp_udp_and_tcp() {
    if !installed("mtr") || !installed("mtr-packet") {
        skip!("mtr is not installed");
    }
    let scene = Scene::new();
    let (far, remote) = far(&scene);
    let _listener = far.listen(remote);
    for way in ["", "-u", "-T -P 5000"] {
        let said = run(&scene, "mtr", &format!("-n -r -c 3 -i 0.2 -G 1 {way} {FAR}"));
        shows_hops(&said, ".|--");
        assert_eq!(said.matches(" 0.0%").count(), 3, "{way}: nothing is lost: {said}");
    }
    scene.end();
}

#[test]
fn tracepath_finds_narrow_places() {
    if !installed("tracepath") {
        skip!("tracepath is not installed");
    }
    // Behind the server; at the uplink, where this host's own kernel must tell; inside.
    for place in ["outside", "uplink", "inside"] {
        let plan = if place == "uplink" { Lab::plan().uplink_mtu(1300) } else { Lab::plan() };
        let scene = Scene::of(plan, &[]);
        let (far, _) = far(&scene);
        match place {
            "outside" => narrow(&scene.lab.server, "eth1", &far, "203.0.113.1"),
            "inside" => drop(scene.lab.client().netns.ip("link set eth0 mtu 1300")),
            _ => {}
        }
        let said = run(&scene, "tracepath", &format!("-n {FAR}"));
        assert!(said.contains("pmtu 1300") && said.contains("reached"), "{place}: {said}");
        let resume = said.lines().last().unwrap_or_default();
        assert!(resume.contains("pmtu 1300 hops 3"), "{place}: {said}");
        scene.end();
    }
}

#[test]
fn ping_of_every_size() {
    let scene = Scene::new();
    let (_far, _) = far(&scene);
    for size in ["0", "1", "56", "1471", "1472"] {
        let said = run(&scene, "ping", &format!("-n -c 3 -i 0.05 -W 3 -M do -s {size} {FAR}"));
        assert!(said.contains("3 received") && said.contains("ttl=62"), "{size}: {said}");
    }
    let said = run(&scene, "ping", &format!("-n -c 50 -i 0.002 -W 3 -p a5 {FAR}"));
    assert!(said.contains("50 received"), "{said}");
    scene.end();
}

#[test]
fn ping_is_told_how_large_it_may_be() {
    // By this host's own kernel and by a router outside.
    for place in ["uplink", "outside"] {
        let plan = if place == "uplink" { Lab::plan().uplink_mtu(1300) } else { Lab::plan() };
        let scene = Scene::of(plan, &[]);
        let (far, _) = far(&scene);
        let teller = match place {
            "uplink" => hops()[0],
            _ => {
                narrow(&scene.lab.server, "eth1", &far, "203.0.113.1");
                hops()[1]
            }
        };
        let words = ["-n", "-c", "1", "-W", "3", "-M", "do", "-s", "1400", FAR];
        let said = outcome(&scene.lab.client().netns, "ping", &words);
        assert!(said.contains(&format!("From {teller}")), "{place}: {said}");
        assert!(said.contains("mtu = 1300") || said.contains("mtu=1300"), "{place}: {said}");
        let said = run(&scene, "ping", &format!("-n -c 1 -W 3 -M do -s 1272 {FAR}"));
        assert!(said.contains("1 received"), "{said}");
        scene.end();
    }
}

/// What a program says that need not succeed.
fn outcome(netns: &Netns, program: &str, words: &[&str]) -> String {
    let output = netns.command(program, words).output().expect("the program can be run");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    text(&output.stdout) + &text(&output.stderr)
}

/// The addresses a ping shows behind a mark, in their order.
fn recorded(said: &str, mark: &str) -> Vec<Ipv4Addr> {
    let lines = said.lines().skip_while(|line| !line.starts_with(mark));
    let words = lines.map(|line| line.trim_start_matches(mark).split_whitespace().next());
    words.map_while(|word| word?.parse().ok()).collect()
}

#[test]
fn ping_records_the_route_and_nobody_inside() {
    let scene = Scene::new();
    let (_far, _) = far(&scene);
    let said = run(&scene, "ping", &format!("-n -c 2 -i 0.2 -W 3 -R {FAR}"));
    let route = recorded(&said, "RR:");
    // The client, which has written its own address, and the router are one from outside.
    assert_eq!(&route[..2], [OUTSIDE, OUTSIDE], "{said}");
    assert!(route.contains(&FAR.parse().expect("an address")), "{said}");
    assert!(said.contains("2 received") && said.contains("same route"), "{said}");
    let said = run(&scene, "ping", &format!("-n -c 2 -i 0.2 -W 3 -T tsandaddr {FAR}"));
    let route = recorded(&said, "TS:");
    assert_eq!(&route[..2], [OUTSIDE, OUTSIDE], "{said}");
    scene.end();
}

#[test]
fn an_error_about_a_recorded_route_tells_of_nobody_inside() {
    let scene = Scene::new();
    let lab = &scene.lab;
    let (client, remote) = (scene.udp(0, 4000), lab.server.udp(server()));
    ask(&client, &remote);
    drop(client);
    let wire = Wire::open(&lab.server, &lab.server_port);
    let mut asked = Packet::udp(server(), outside(4000)).payload(b"still there?");
    // Room for one: a kernel that delivers a packet and adds itself leaves the checksum as it was.
    asked.ip.options = vec![7, 7, 4, 0, 0, 0, 0, 0];
    wire.send_packet(&asked.frame(lab.server_port.mac, lab.uplink.mac));
    let error = wire.expect("the error", |packet| packet.quote().is_some());
    let quote = error.quote().expect("that is what was waited for");
    // The router has recorded its address inside, and the client has copied that into its answer.
    for options in [&quote.ip.options, &error.ip.options] {
        assert_eq!(options[3..7], OUTSIDE.octets(), "{error}");
    }
    assert_valid(&error.bytes());
    scene.end();
}
