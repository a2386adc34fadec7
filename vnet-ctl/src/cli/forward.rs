//! `vnetctl forward`

use clap::Subcommand;
use serde::Serialize;
use vnet_common::forward::Rule;

use super::output::Output;
use super::table::{Align, several, with};
use super::{named, shown};
use crate::exit::Exit;
use crate::reconcile::{self, Error, Report};
use crate::spec::{ForwardWish, ForwardWords, Instance, Ports, Which};
use crate::state::Words as _;
use crate::view::{self, ForwardRow};

const EXAMPLES: &str = "\
Examples:
  vnetctl forward add tcp 80 10.0.0.2              port 80 leads to 10.0.0.2, port 80
  vnetctl forward add tcp 8443 10.0.0.2:443 --name web
  vnetctl forward add tcp 8443 10.0.0.3:443 --name web      to another host from now on
  vnetctl forward add udp 30000-39999 10.0.0.5     ten thousand ports
  vnetctl forward list
  vnetctl forward del web";

const ADD_EXAMPLES: &str = "\
Examples:
  vnetctl forward add tcp 80 10.0.0.2
  vnetctl forward add udp 5060 10.0.0.9 --name sip
  vnetctl forward add tcp 2200-2299 10.0.0.7:22000-22099
  vnetctl forward add tcp 443 10.0.0.2:8443 --address 203.0.113.8 --dry-run

The target sees the real client. The ports are the forward's alone: they are given to no connection
from inside, but for those that the target itself makes from the port that is led to it. Adding the
same again changes nothing. Adding with the --name of one that is there changes it: connections
that it leads elsewhere now are ended, and whoever goes on sending reaches the new target.

Processes of this host reach the target by the same port of the outside address, of 127.0.0.1 and of
::1, unless a service of this host listens there.";

const DEL_EXAMPLES: &str = "\
Examples:
  vnetctl forward del web          by its name
  vnetctl forward del 8443         by an outside port
  vnetctl forward del udp 53       by protocol and outside port
  vnetctl forward del --id 3       by its number in `vnetctl forward list`";

/// Ports of the outside address that lead to hosts inside
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Add(Add),
    Del(Del),
    List(List),
}

/// Lead outside ports to a host inside, or change where they lead
#[derive(Debug, clap::Args)]
#[command(after_help = ADD_EXAMPLES)]
struct Add {
    /// tcp or udp
    #[arg(value_name = "PROTO")]
    proto: String,
    /// Outside port, or a range of them
    #[arg(value_name = "PORT[-LAST]")]
    ports: String,
    /// Host inside, and its port (or range) where that is another
    #[arg(value_name = "ADDRESS[:PORT[-LAST]]")]
    target: String,
    /// Outside address [default: the first one of the uplink, whichever that is]
    #[arg(long, value_name = "ADDRESS")]
    address: Option<String>,
    /// Its name [default: protocol and ports, such as tcp-80]
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// This instance [default: the only one of this network namespace]
    #[arg(long, value_name = "NAME")]
    instance: Option<String>,
    /// End connections from inside that use the ports already
    #[arg(long)]
    force: bool,
    /// Say what would be done, and do nothing
    #[arg(long)]
    dry_run: bool,
}

/// Remove a forward; connections through it end
#[derive(Debug, clap::Args)]
#[command(after_help = DEL_EXAMPLES)]
struct Del {
    /// Its name, one of its outside ports, or its protocol
    #[arg(value_name = "NAME|PORT|PROTO", required_unless_present = "id")]
    what: Option<String>,
    /// After the protocol: one of its outside ports
    #[arg(value_name = "PORT")]
    port: Option<String>,
    /// Its number
    #[arg(long, value_name = "N", conflicts_with_all = ["what", "port"])]
    id: Option<u32>,
    /// This instance [default: the only one of this network namespace]
    #[arg(long, value_name = "NAME")]
    instance: Option<String>,
    /// Say what would be done, and do nothing
    #[arg(long)]
    dry_run: bool,
}

/// Which ports lead where
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  vnetctl forward list\n  vnetctl -j forward list")]
struct List {
    /// This instance, wherever it is [default: those of this network namespace]
    #[arg(long, value_name = "NAME")]
    instance: Option<String>,
}

pub(super) async fn run(args: &Args, output: &Output) -> Result<Exit, Error> {
    match &args.command {
        Command::Add(args) => add(args, output).await,
        Command::Del(args) => delete(args, output).await,
        Command::List(args) => list(args, output).await,
    }
}

async fn add(args: &Add, output: &Output) -> Result<Exit, Error> {
    let words = ForwardWords {
        proto: args.proto.clone(),
        ports: args.ports.clone(),
        target: args.target.clone(),
        address: args.address.clone(),
        instance: args.instance.clone(),
        name: args.name.clone(),
        force: args.force,
    };
    let wish = ForwardWish::parse(&words).map_err(Error::Faults)?;
    let (report, rule) = reconcile::add_forward(&wish, args.dry_run).await?;
    print("leads", &report, &rule, output)?;
    Ok(Exit::Ok)
}

async fn delete(args: &Del, output: &Output) -> Result<Exit, Error> {
    let instance: Option<Instance> = named(args.instance.as_ref())?;
    let which = match (args.id, &args.what) {
        (Some(id), _) => Which::Id(id),
        (None, what) => Which::parse(what.as_deref().unwrap_or_default(), args.port.as_deref())?,
    };
    let (report, rule) = reconcile::delete_forward(&which, instance.as_ref(), args.dry_run).await?;
    print("led", &report, &rule, output)?;
    Ok(Exit::Ok)
}

/// What a command did, in JSON.
#[derive(Serialize)]
struct Row<'a> {
    applied: bool,
    changed: bool,
    id: u32,
    name: String,
    steps: Vec<String>,
    notes: &'a [String],
    warnings: &'a [String],
}

fn print(leads: &str, report: &Report, rule: &Rule, output: &Output) -> Result<(), Error> {
    let steps: Vec<_> = report.steps.iter().map(ToString::to_string).collect();
    for sentence in report.notes.iter().chain(&report.warnings) {
        output.note(sentence);
    }
    let row = Row {
        applied: report.applied,
        changed: report.applied && !steps.is_empty(),
        id: rule.forward.id,
        name: rule.name(),
        steps: steps.clone(),
        notes: &report.notes,
        warnings: &report.warnings,
    };
    let (name, proto, ports) = (rule.name(), rule.protocol(), rule.ports());
    output.print(&row, || match (report.applied, steps.is_empty()) {
        (_, true) => "nothing to do\n".to_owned(),
        (true, false) => format!("'{name}' {leads} {proto} {ports} to {}\n", rule.target()),
        (false, false) => super::attach::listed(&steps),
    })
}

async fn list(args: &List, output: &Output) -> Result<Exit, Error> {
    let instances = shown(named(args.instance.as_ref())?.as_ref(), output).await?;
    let rows = view::forwards(&instances)?;
    output.print(&rows, || text(&rows))?;
    Ok(Exit::Ok)
}

/// Which column names the instance.
const INSTANCE: usize = 0;

const COLUMNS: [(&str, Align); 7] = [
    ("instance", Align::Left),
    ("id", Align::Right),
    ("name", Align::Left),
    ("proto", Align::Left),
    ("outside", Align::Left),
    ("inside", Align::Left),
    ("flows", Align::Right),
];

fn text(rows: &[ForwardRow]) -> String {
    if rows.is_empty() {
        return "no forwards\n".to_owned();
    }
    let at = |address: Option<String>, ports: Ports| {
        format!("{}:{ports}", address.unwrap_or_else(|| "(address gone)".to_owned()))
    };
    let cells = |row: &ForwardRow| {
        let unsettled = if row.settled { "" } else { " (cut short)" };
        vec![
            row.instance.clone(),
            row.id.to_string(),
            format!("{}{unsettled}", row.name),
            row.proto.to_string(),
            at(row.outside.map(|address| address.to_string()), row.ports),
            at(Some(row.inside.to_string()), row.inside_ports),
            row.flows.to_string(),
        ]
    };
    let several = several(rows.iter().map(|row| row.instance.as_str()));
    with(&[(INSTANCE, several)], &COLUMNS, rows.iter().map(cells).collect())
}
