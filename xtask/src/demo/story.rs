//! The demo's steps, once the lab stands. Each shows something and checks it: a demo that only
//! looks right is a failure.

use std::fs;

use anyhow::{Result, bail};

use super::lab::{CLIENT, Lab, OUTSIDE, Place, SERVER};
use super::snapshot::{self, Snapshot};
use super::tell::{self, Steps};

const HTTP_LOG: &str = "http.log";
const IPERF_LOG: &str = "iperf3.log";
/// How many entries of a map are shown.
const ENTRIES: usize = 2;

/// Tells the whole story, up to the verdict unless the lab is kept.
pub(crate) fn tell(lab: &mut Lab, vnetctl: &str, steps: &mut Steps, keep: bool) -> Result<()> {
    explain(lab);
    start_servers(lab, steps)?;
    nothing_works_yet(lab, steps);
    snapshot::clear_empty();
    let before = Snapshot::take(lab)?;

    steps.next("One command makes the router translate.");
    tell::run(
        lab,
        Place::Router,
        &[vnetctl, "attach", "--nat", "uplink", "--instance", lab.instance()],
    )?;

    real_clients(lab, steps)?;
    what_the_server_saw(lab, steps)?;
    the_flows(lab, vnetctl, steps)?;
    if keep { Ok(()) } else { detach(lab, vnetctl, steps, &before) }
}

fn explain(lab: &Lab) {
    println!(
        "
      client               router                        server
      {CLIENT} ---- lan        uplink ---- eth0
                      10.7.0.1   {OUTSIDE}      {SERVER}

   `client#` and the like stand for `nsenter --net=/run/netns/{}-client`.",
        lab.namespace(Place::Client).trim_end_matches("-client")
    );
}

fn start_servers(lab: &mut Lab, steps: &mut Steps) -> Result<()> {
    steps.next("Real servers out in the world: HTTP and iperf3.");
    let pages = lab.dir().join("pages");
    fs::create_dir_all(&pages)?;
    fs::write(pages.join("index.html"), "Hello from the server beyond the uplink.\n")?;
    let (listen, pages) = (format!("{SERVER}:80"), pages.display().to_string());
    lab.serve(HTTP_LOG, 80, &["busybox", "httpd", "-f", "-vv", "-p", &listen, "-h", &pages])?;
    let iperf3 = ["iperf3", "--server", "--forceflush", "--bind", &SERVER.to_string()];
    lab.serve(IPERF_LOG, 5201, &iperf3)
}

/// The contrast: without translation the server's answers have no way back.
fn nothing_works_yet(lab: &Lab, steps: &mut Steps) {
    steps.next("Without vnet the client reaches nothing: the router does not even forward.");
    let server = SERVER.to_string();
    let ping = ["ping", "-c", "1", "-W", "1", &server];
    let word = match tell::run_hiding(lab, Place::Client, &ping) {
        Ok(_) => "an answer, which is strange",
        Err(_) => "no answer, as it should be",
    };
    tell::line(word);
}

fn real_clients(lab: &Lab, steps: &mut Steps) -> Result<()> {
    let server = SERVER.to_string();
    steps.next("Real clients work through it: ping,");
    tell::run(lab, Place::Client, &["ping", "-c", "3", "-i", "0.2", "-W", "2", &server])?;

    steps.next("a web client,");
    let page = format!("http://{SERVER}/");
    let text = tell::run(lab, Place::Client, &["curl", "-sS", "--max-time", "10", &page])?;
    if !text.contains("Hello") {
        bail!("curl got another page than the server has");
    }

    steps.next("and load: TCP up, TCP down, UDP up, UDP down.");
    let ways: [&[&str]; 4] =
        [&[], &["--reverse"], &["--udp", "-b", "100M"], &["--udp", "-b", "100M", "--reverse"]];
    for way in ways {
        let common = ["iperf3", "--client", &server, "--time", "2", "--connect-timeout", "3000"];
        let text = tell::run_hiding(lab, Place::Client, &[&common[..], way].concat())?;
        tell::lines_with(&text, &["sender", "receiver"]);
    }
    Ok(())
}

/// Both servers log who asked.
fn what_the_server_saw(lab: &Lab, steps: &mut Steps) -> Result<()> {
    steps.next("Whom did the servers see? The router's address, never the client's.");
    let seen = format!("{}{}", lab.log(HTTP_LOG)?, lab.log(IPERF_LOG)?);
    let asked = |text: &&str| text.contains("url:") || text.contains("Accepted connection");
    seen.lines().filter(asked).for_each(tell::line);
    if seen.contains(&CLIENT.to_string()) {
        bail!("a server saw the client's own address {CLIENT}: it was not translated");
    }
    if !seen.contains(&OUTSIDE.to_string()) {
        bail!("no server saw the router's address {OUTSIDE}");
    }
    Ok(())
}

fn the_flows(lab: &Lab, vnetctl: &str, steps: &mut Steps) -> Result<()> {
    steps.next("What vnet knows of all this, as its own command prints it,");
    let instance = lab.instance();
    let flows = tell::run(lab, Place::Router, &[vnetctl, "flows", "--instance", instance])?;
    if !flows.contains(&CLIENT.to_string()) {
        bail!("`vnetctl flows` shows no flow of {CLIENT}");
    }
    tell::run(lab, Place::Router, &[vnetctl, "mappings", "--instance", instance])?;

    steps.next("and as the kernel has it: the map is plain to read.");
    let maps = snapshot::maps(instance, "flows");
    let Some(map) = maps.first() else { bail!("no map of flows is pinned for {instance}") };
    let dump = tell::run_hiding(lab, Place::Router, &["bpftool", "map", "dump", "pinned", map])?;
    tell::first_entries(&dump, ENTRIES);
    if !dump.contains("\"key\": {") {
        bail!("bpftool shows no named fields of the flows");
    }
    Ok(())
}

fn detach(lab: &Lab, vnetctl: &str, steps: &mut Steps, before: &Snapshot) -> Result<()> {
    steps.next("Detached, the router is what it was.");
    let instance = lab.instance();
    tell::run(lab, Place::Router, &[vnetctl, "detach", "uplink", "--instance", instance])?;
    let changes = before.changes(&Snapshot::take(lab)?);
    if changes.is_empty() {
        tell::line(&format!(
            "compared {} facts (devices, addresses, routes, qdiscs, filters, firewall, sysctls, \
             pins): all as before",
            before.len()
        ));
        return Ok(());
    }
    changes.iter().for_each(|change| tell::line(change));
    bail!("detach left {} things different from before", changes.len())
}

/// After a failure: take off what may be attached, without a word when there is nothing.
pub(crate) fn detach_whatever_is_left(lab: &Lab, vnetctl: &str) {
    let words = [vnetctl, "detach", "uplink", "--instance", lab.instance()];
    let _ = lab.quietly(Place::Router, &words);
}

/// How to go on in a lab that was kept.
pub(crate) fn how_to_play(lab: &Lab, vnetctl: &str) {
    let (instance, router) = (lab.instance(), lab.namespace(Place::Router));
    let (client, server) = (lab.namespace(Place::Client), lab.namespace(Place::Server));
    println!(
        "
The lab stays. As root, try:

  # be the client, the router or the server (type `exit` to leave)
  nsenter --net=/run/netns/{client} bash
  nsenter --net=/run/netns/{router} bash
  nsenter --net=/run/netns/{server} bash

  # work as the client, and watch the uplink
  nsenter --net=/run/netns/{client} curl http://{SERVER}/
  nsenter --net=/run/netns/{router} tcpdump -ni uplink

  # ask vnet
  alias v='nsenter --net=/run/netns/{router} {vnetctl}'
  v flows --instance {instance}
  v mappings --instance {instance}
  v counters --instance {instance}

Remove it all:

  nsenter --net=/run/netns/{router} {vnetctl} detach uplink --instance {instance}
  for n in {client} {router} {server}; do ip netns pids $n | xargs -r kill; ip netns del $n; done
  rm -r {}",
        lab.dir().display()
    );
}
