//! Programs that carry data: curl and iperf3 work through the NAT as they would without it.

use serde_json::Value;
use vnet_tests::lab::{Lab, OUTSIDE, server_address};
use vnet_tests::netns::Netns;
use vnet_tests::skip;
use vnet_tests::vnetctl::{self, Running};

use crate::path::narrow;
use crate::scene::{Scene, wait_until};
use crate::tool_route::installed;

use std::time::Duration;

/// Bytes of the file that is fetched.
const LENGTH: usize = 2_000_000;

/// A web server with one file, and the folder it serves.
struct Web {
    folder: std::path::PathBuf,
    _server: Running,
}

impl Web {
    fn start(netns: &Netns) -> Self {
        let folder = std::env::temp_dir().join(netns.name());
        std::fs::create_dir_all(&folder).expect("a folder can be made");
        std::fs::write(folder.join("file"), content()).expect("a file can be written");
        let home = folder.to_string_lossy().into_owned();
        let server = netns.command("busybox", &["httpd", "-f", "-p", "80", "-h", &home]);
        let server = vnetctl::start(server);
        wait_for_listener(netns, 80);
        Self { folder, _server: server }
    }
}

impl Drop for Web {
    fn drop(&mut self) {
        // In a temporary folder: nobody minds what stays.
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn content() -> Vec<u8> {
    (0..LENGTH).map(|n| (n * 13 + n / 509) as u8).collect()
}

/// Waits until somebody listens at a TCP port of the namespace.
fn wait_for_listener(netns: &Netns, port: u16) {
    let wanted = format!(":{port:04X} ");
    wait_until("somebody listens", Duration::from_secs(5), || {
        let tables = ["/proc/thread-self/net/tcp", "/proc/thread-self/net/tcp6"];
        let read = || tables.map(|table| std::fs::read_to_string(table).unwrap_or_default());
        let listens = |line: &str| line.contains(&wanted) && line.contains(" 0A ");
        netns.run(read).concat().lines().any(listens)
    });
}

/// Fetches the file in a client and compares it.
#[track_caller]
fn fetch(client: &Netns, words: &[&str]) {
    let url = format!("http://{}/file", server_address(0));
    let output = client.command("curl", &[&["-sS", "-m", "20"], words, &[&url]].concat()).output();
    let output = output.expect("curl can be run");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(output.stdout == content(), "{} bytes came", output.stdout.len());
}

#[test]
fn curl_fetches_a_file() {
    if !installed("curl") {
        skip!("curl is not installed");
    }
    for plan in [Lab::plan(), Lab::plan().with_offloads(), Lab::plan().uplink_mtu(1300)] {
        let scene = Scene::of(plan, &[]);
        let _web = Web::start(&scene.lab.server);
        fetch(&scene.lab.client().netns, &[]);
        fetch(&scene.lab.client().netns, &["--local-port", "80"]);
        scene.end();
    }
}

#[test]
fn curl_fetches_a_file_into_a_narrow_place() {
    if !installed("curl") {
        skip!("curl is not installed");
    }
    let scene = Scene::new();
    let lab = &scene.lab;
    // Only this host's own kernel can tell the server, in the outside address's name.
    narrow(&lab.router, "in0", &lab.client().netns, "10.0.0.1");
    let _web = Web::start(&lab.server);
    fetch(&lab.client().netns, &[]);
    let learnt = lab.server.ip(&format!("route get {OUTSIDE}"));
    assert!(learnt.contains("mtu 1300"), "the server was told: {learnt}");
    scene.end();
}

/// Runs iperf3 through the NAT; returns what the client and the server say.
fn iperf(scene: &Scene, words: &str) -> (Value, Value) {
    let lab = &scene.lab;
    let mut server = vnetctl::start(lab.server.command("iperf3", &["-s", "-1", "-J"]));
    let lines = server.lines();
    wait_for_listener(&lab.server, 5201);
    let address = server_address(0).to_string();
    let line = format!("-c {address} -t 1 -J --connect-timeout 3000 {words}");
    let words: Vec<_> = line.split_whitespace().collect();
    let output = lab.client().netns.command("iperf3", &words).output().expect("iperf3 can be run");
    let said = |bytes: &[u8]| -> Value {
        serde_json::from_slice(bytes).unwrap_or_else(|e| panic!("{words:?}: not JSON: {e}"))
    };
    let client = said(&output.stdout);
    assert!(client["error"].is_null(), "{words:?}: {}", client["error"]);
    // The server ends after one client, and so do its lines.
    (client, said(lines.iter().collect::<String>().as_bytes()))
}

#[test]
fn iperf3_in_every_mode() {
    if !installed("iperf3") {
        skip!("iperf3 is not installed");
    }
    let scene = Scene::new();
    let modes = [
        ("", "sum_received"),
        ("-R", "sum_received"),
        ("--bidir", "sum_received_bidir_reverse"),
        ("-P 4", "sum_received"),
        ("-u -b 20M -l 1400", "sum"),
        ("-u -b 20M -l 1400 -R", "sum"),
    ];
    for (words, sum) in modes {
        let (client, server) = iperf(&scene, words);
        let bytes = client["end"][sum]["bytes"].as_u64().unwrap_or_default();
        assert!(bytes > 100_000, "{words}: {bytes} bytes, {}", client["end"]);
        let seen = &server["start"]["accepted_connection"]["host"];
        assert_eq!(seen, &OUTSIDE.to_string(), "{words}: whom the server sees");
    }
    scene.end();
}
