//! `vnetctl attach`

use serde::Serialize;

use super::output::Output;
use crate::exit::Exit;
use crate::reconcile::{self, Error, Report};
use crate::spec::{self, Words};
use crate::state::Change;

const EXAMPLES: &str = "\
Examples:
  vnetctl attach --nat eth0
  vnetctl attach --nat eth0 --inside 10.0.0.0/8 --inside 192.168.0.0/16
  vnetctl attach --nat eth0 --inside lan0 --ports 32768-60999
  vnetctl attach --nat eth0 --address 203.0.113.7 --address 203.0.113.8 --dry-run
  vnetctl attach --nat eth0 --nat ppp0
  vnetctl attach --nat eth0 --nat66
  vnetctl attach --nat eth0 --nptv6 fd01:203:405::/48=2001:db8:1::/48

Attaching again with the same words changes nothing; with others it changes the running instance
in place, and connections live on. What is not said is the default again, so give all of your
options each time; what changed is printed. Attaching after a crash repairs.

Devices that inside hosts come in by get the programs too: those that --inside names, and, found by
themselves, those that are up and have an address of an --inside prefix (any IPv4 address, when
everybody is inside). Devices that come later are found by the next attach.

Instances are named per host, not per network namespace: where several namespaces translate, give
each its own --instance.";

/// Translate what leaves by a device (NAT), until it is detached
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// The uplink: traffic that leaves by this device is translated; repeat for more. Routing
    /// chooses between them, and a connection whose route moves begins anew on the other one
    #[arg(long, value_name = "DEV", required = true)]
    nat: Vec<String>,
    /// Who is inside: a prefix of sources, or a device they come in by; repeat for more
    /// [default: everybody]
    #[arg(long, value_name = "CIDR|DEV")]
    inside: Vec<String>,
    /// Outside ports to hand out; --low-ports may add some [default: 1024-65535]
    #[arg(long, value_name = "A-B")]
    ports: Option<String>,
    /// Ports below 1024 to hand out to who comes from such a port, or none; without them it gets one
    /// of --ports [default: 1-1023, but none with --ports or --port-block]
    #[arg(long, value_name = "A-B|none")]
    low_ports: Option<String>,
    /// Give each inside host N ports for itself, computed from its address (RFC 7422): `vnetctl
    /// blocks` tells who has a port without any log. Needs --inside with prefixes only
    #[arg(long, value_name = "N")]
    port_block: Option<String>,
    /// Outside address, one that an uplink has; repeat for more: every inside host then has one of
    /// them, always the same [default: the first global address of each uplink]
    #[arg(long, value_name = "ADDRESS")]
    address: Vec<String>,
    /// Destinations that inside hosts reach by their own addresses, untranslated; repeat for more
    #[arg(long, value_name = "CIDR")]
    exclude: Vec<String>,
    /// Who may send to a mapping from outside: endpoint-independent (anybody), address-dependent
    /// (whoever has an address that its owner has sent to), address-and-port-dependent (only those
    /// its owner has sent to) [default: address-and-port-dependent]
    #[arg(long, value_name = "MODE")]
    filtering: Option<String>,
    /// Ports (mappings) an inside host may have at once [default: no limit]
    #[arg(long, value_name = "N")]
    max_ports_per_host: Option<String>,
    /// Connections an inside host may have at once [default: no limit]
    #[arg(long, value_name = "N")]
    max_flows_per_host: Option<String>,
    /// Name of the instance
    #[arg(long, value_name = "NAME", default_value = "default")]
    instance: String,
    /// Connections to make room for; fixed while the instance lives [default: 262144]
    #[arg(long, value_name = "N")]
    max_flows: Option<String>,
    /// Idle time of a UDP mapping, seconds [default: 300]
    #[arg(long, value_name = "S")]
    timeout_udp: Option<String>,
    /// Whose packets keep a UDP mapping alive: both (answers from outside too) or outbound (only
    /// what leaves) [default: both]
    #[arg(long, value_name = "WAY")]
    refresh: Option<String>,
    /// Idle time of an ICMP query, seconds [default: 60]
    #[arg(long, value_name = "S")]
    timeout_icmp: Option<String>,
    /// Idle time of an established TCP connection, seconds [default: 7440]
    #[arg(long, value_name = "S")]
    timeout_tcp_established: Option<String>,
    /// Idle time of a half-open or closing TCP connection, seconds [default: 240]
    #[arg(long, value_name = "S")]
    timeout_tcp_transitory: Option<String>,
    /// Rest of a port before another host may get it, seconds [default: 120]
    #[arg(long, value_name = "S")]
    port_rest: Option<String>,
    /// What becomes of fragments that come before the first one of their datagram: sort (the kernel
    /// puts them in order, in a network namespace of its own) or ordered (they are not translated)
    /// [default: sort]
    #[arg(long, value_name = "WAY")]
    fragments: Option<String>,
    /// A device whose packets always take the kernel's way, coming and going, instead of the shortcut
    /// past its routing; an uplink means all of its packets; repeat for more
    #[arg(long, value_name = "DEV")]
    no_shortcut: Vec<String>,
    /// Whether devices have an XDP program too, which takes the shortcut before the kernel has made
    /// packets of what comes in: auto (where drivers run it and gain by it), native (where drivers run
    /// it), generic (every Ethernet device; the kernel runs it) or off. Putting one on may make a
    /// network card start anew; what goes by XDP is not seen by tcpdump, nor by a qdisc
    /// [default: off]
    #[arg(long, value_name = "MODE")]
    xdp: Option<String>,
    /// Do not tell inside hosts by ICMP (administratively prohibited) that they were refused for want
    /// of a port or of room
    #[arg(long)]
    no_answer: bool,
    /// Translate IPv6 by prefix, both ways and without state (NPTv6, RFC 6296): inside hosts of the
    /// first prefix have addresses of the second outside; repeat for more
    #[arg(long, value_name = "INSIDE=OUTSIDE")]
    nptv6: Vec<String>,
    /// Masquerade IPv6 too: what is forwarded to an uplink leaves with the uplink's own IPv6 address,
    /// by the rules of --nat. Give inside hosts addresses that routers do not know outside (fd00::/8)
    #[arg(long)]
    nat66: bool,
    /// The IPv6 address for --nat66, one that an uplink has; one for each uplink
    /// [default: the first global address of each uplink]
    #[arg(long, value_name = "ADDRESS")]
    address6: Vec<String>,
    /// Tell of every mapping that begins and ends, or of every port block, by `vnetctl events`
    #[arg(long)]
    events: bool,
    /// Level of the datapath's log, read by `vnetctl log`: off (costs nothing), error (failures of
    /// vnet itself; there are none so far), warn (also what is dropped), info (the same so far),
    /// debug (every decision, one for each packet), trace (the same so far) [default: off]
    #[arg(long, value_name = "LEVEL")]
    log_level: Option<String>,
    /// Say what would be done, and do nothing
    #[arg(long)]
    dry_run: bool,
}

impl Args {
    fn words(&self) -> Words {
        Words {
            nat: self.nat.clone(),
            inside: self.inside.clone(),
            ports: self.ports.clone(),
            low_ports: self.low_ports.clone(),
            port_block: self.port_block.clone(),
            address: self.address.clone(),
            exclude: self.exclude.clone(),
            filtering: self.filtering.clone(),
            max_ports_per_host: self.max_ports_per_host.clone(),
            max_flows_per_host: self.max_flows_per_host.clone(),
            instance: self.instance.clone(),
            max_flows: self.max_flows.clone(),
            timeout_udp: self.timeout_udp.clone(),
            refresh: self.refresh.clone(),
            timeout_icmp: self.timeout_icmp.clone(),
            timeout_tcp_established: self.timeout_tcp_established.clone(),
            timeout_tcp_transitory: self.timeout_tcp_transitory.clone(),
            port_rest: self.port_rest.clone(),
            no_shortcut: self.no_shortcut.clone(),
            xdp: self.xdp.clone(),
            no_answer: self.no_answer,
            nptv6: self.nptv6.clone(),
            nat66: self.nat66,
            address6: self.address6.clone(),
            events: self.events,
            fragments: self.fragments.clone(),
            log_level: self.log_level.clone(),
        }
    }
}

pub(super) async fn run(args: &Args, output: &Output) -> Result<Exit, Error> {
    let wish = spec::Attach::parse(&args.words()).map_err(Error::Faults)?;
    let report = reconcile::attach(&wish, args.dry_run).await?;
    let how = if report.in_place { "changed" } else { "attached" };
    let verb = if wish.uplinks.len() > 1 { "translate" } else { "translates" };
    let uplinks = wish.uplinks.join(" and ");
    let done = format!("{how}: {uplinks} {verb}, instance '{}'", wish.instance);
    print(&report, &done, output)?;
    Ok(Exit::Ok)
}

/// A report in JSON.
#[derive(Serialize)]
pub(super) struct Row<'a> {
    applied: bool,
    changed: bool,
    changes: &'a [Change],
    steps: Vec<String>,
    notes: &'a [String],
    warnings: &'a [String],
}

impl<'a> Row<'a> {
    pub(super) fn of(report: &'a Report) -> Self {
        Self {
            applied: report.applied,
            changed: report.applied && !report.steps.is_empty(),
            changes: &report.changes,
            steps: steps(report),
            notes: &report.notes,
            warnings: &report.warnings,
        }
    }
}

fn steps(report: &Report) -> Vec<String> {
    report.steps.iter().map(ToString::to_string).collect()
}

/// Shows what was done; `done` is the sentence for when something was.
pub(super) fn print(report: &Report, done: &str, output: &Output) -> Result<(), Error> {
    for sentence in report.notes.iter().chain(&report.warnings) {
        output.note(sentence);
    }
    output.print(&Row::of(report), || text(report, done))
}

/// A report for people.
pub(super) fn text(report: &Report, done: &str) -> String {
    let steps = steps(report);
    match (report.applied, steps.is_empty()) {
        (_, true) => "nothing to do\n".to_owned(),
        (true, false) => format!("{done}\n{}", differences(&report.changes)),
        (false, false) => listed(&steps) + &differences(&report.changes),
    }
}

fn differences(changes: &[Change]) -> String {
    let line = |Change { what, before, after }: &Change| format!("  {what}: {before} -> {after}\n");
    changes.iter().map(line).collect()
}

pub(super) fn listed(steps: &[String]) -> String {
    let lines = steps.iter().enumerate().map(|(at, step)| format!("{:>3}  {step}\n", at + 1));
    lines.chain([format!("{} steps, none of them executed\n", steps.len())]).collect()
}
