//! TCP streams from client to server, as fast as it goes, by iperf3.
//!
//! With segments cut and joined by the devices, forty packets of a stream are one for a router;
//! without, every packet is one.

use std::fs;
use std::process::Command;
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;

use super::scene::Scene;
use super::series::Sample;
use crate::netns::Netns;
use crate::vnetctl::{self, Running};

/// iperf3's port, in text and as /proc/net/tcp has it.
const PORT: (&str, &str) = ("5201", ":1451 00000000:0000 0A");
/// How long the server may take to listen.
const PATIENCE: Duration = Duration::from_secs(5);

/// Takes one sample.
pub(super) fn sample(
    scene: &Scene,
    (segmentation, streams): (bool, u32),
    seconds: u32,
) -> Result<Vec<Sample>> {
    if !segmentation {
        scene.segmentation(false);
    }
    let measured = measure(scene, streams, seconds);
    if !segmentation {
        scene.segmentation(true);
    }
    let (word, id) = if segmentation { ("on", "tcp-bulk") } else { ("off", "tcp-bulk-no-tso") };
    let (plural, id) = match streams {
        1 => ("", id.to_owned()),
        _ => ("s", format!("{id}-{streams}")),
    };
    let title = format!("TCP bulk, {streams} stream{plural}, TSO and GRO {word}");
    Ok(vec![Sample::more(&id, &title, "Gbit/s", measured? / 1e9)])
}

/// Bits a second that the server has received.
fn measure(scene: &Scene, streams: u32, seconds: u32) -> Result<f64> {
    let (server, client) = commands(scene, streams, seconds);
    let (served, sent) = thread::scope(|scope| {
        let server = scope.spawn(|| vnetctl::run(server));
        let sent = wait_listening(scene.server()).map(|()| vnetctl::run(client));
        (server.join(), sent)
    });
    let Ok(served) = served else { bail!("iperf3's server failed; its words are above") };
    let (served, sent) = (served.ok().json(), sent?.ok().json());
    let from = served["start"]["accepted_connection"]["host"].as_str().unwrap_or("nobody");
    let promised = scene.source();
    ensure!(from == promised.to_string(), "the stream came from {from}, not from {promised}");
    received(&sent)
}

/// The server's command and the client's.
fn commands(scene: &Scene, streams: u32, seconds: u32) -> (Command, Command) {
    let to = scene.server_address().to_string();
    let (seconds, streams) = (seconds.to_string(), streams.to_string());
    let server = ["--server", "-4", "--one-off", "--json", "--port", PORT.0];
    let to =
        ["--client", &to, "--port", PORT.0, "--time", &seconds, "--parallel", &streams, "--json"];
    (scene.server().command("iperf3", &server), scene.client().command("iperf3", &to))
}

/// A stream that goes on until both are dropped, for other work to be done beside it.
pub(super) fn beside(scene: &Scene) -> Result<(Running, Running)> {
    const LONG: u32 = 600;
    let (server, client) = commands(scene, 1, LONG);
    let server = vnetctl::start(server);
    wait_listening(scene.server())?;
    let client = vnetctl::start(client);
    // It starts slowly (RFC 5681).
    sleep(Duration::from_millis(500));
    Ok((server, client))
}

fn received(report: &Value) -> Result<f64> {
    let rate = report["end"]["sum_received"]["bits_per_second"].as_f64();
    rate.context("iperf3 reports no received bits per second")
}

fn wait_listening(server: &Netns) -> Result<()> {
    let limit = Instant::now() + PATIENCE;
    server.run(|| {
        // The file shows the network namespace of the thread that reads it.
        let table = || fs::read_to_string("/proc/thread-self/net/tcp").unwrap_or_default();
        while !table().contains(PORT.1) {
            ensure!(Instant::now() < limit, "iperf3's server does not listen");
            sleep(Duration::from_millis(10));
        }
        Ok(())
    })
}
