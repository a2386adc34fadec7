//! Port blocks over real sockets, and `vnetctl blocks`, which tells without any log.

use std::net::{Ipv4Addr, SocketAddrV4};

use vnet_tests::lab::{ETH, Lab, OUTSIDE, UPLINK};
use vnet_tests::link;

use crate::scene::{Scene, ask, server};

const OTHER: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 7);

#[test]
fn rfc7422_whoever_the_server_saw_is_computed() {
    let scene = Scene::unattached(Lab::plan());
    let lab = &scene.lab;
    link::address(&lab.router, UPLINK, &format!("{OTHER}/24"));
    let netns = &lab.client().netns;
    let hosts = [2, 3, 150, 251].map(|n| Ipv4Addr::new(10, 0, 0, n));
    for host in &hosts[1..] {
        link::address(netns, ETH, &format!("{host}/24"));
    }
    let attach = ["attach", "--nat", UPLINK, "--inside", "10.0.0.0/24", "--port-block", "400"];
    let both = ["--address", "198.51.100.1", "--address", "198.51.100.7"];
    lab.vnetctl(&[&attach[..], &both].concat()).ok();
    let remote = lab.server.udp(server());
    for host in hosts {
        let seen = ask(&netns.udp((host, 0)), &remote);
        let asked = ["blocks", "--outside", &seen.to_string(), "--json"];
        let row = lab.vnetctl(&asked).ok().json()[0].clone();
        assert_eq!(row["host"], host.to_string(), "{seen}: {row}");
        let rows = lab.vnetctl(&["blocks", "--host", &host.to_string(), "--json"]).ok().json();
        assert_eq!(rows, serde_json::json!([row]), "and back");
        let port = u64::from(seen.port());
        let within = row["ports"]["min"].as_u64() <= Some(port)
            && Some(port) <= row["ports"]["max"].as_u64();
        assert!(within, "{seen}: {row}");
        assert_eq!(row["outside"], seen.ip().to_string());
    }
    let used: Vec<_> =
        hosts.iter().map(|host| *ask(&netns.udp((*host, 0)), &remote).ip()).collect();
    assert_eq!(used, [OUTSIDE, OUTSIDE, OUTSIDE, OTHER], "161 hosts for each address");
    let own = SocketAddrV4::new(OUTSIDE, 80).to_string();
    lab.vnetctl(&["blocks", "--outside", &own]).fails(5).complains("is in no block");
    lab.vnetctl(&["blocks", "--host", "10.9.0.1"]).fails(5).complains("in no inside prefix");
    let all = lab.vnetctl(&["blocks", "--json"]).ok().json();
    assert_eq!(all.as_array().map(Vec::len), Some(256));
    scene.end();
}
