//! What is typed and what is shown: one file for each command.

mod apply;
mod attach;
mod blocks;
mod completions;
mod counters;
mod detach;
mod doctor;
mod events;
mod flows;
mod forward;
mod log;
mod man;
mod mappings;
mod output;
mod status;
mod syslog;
mod table;
mod watch;

use std::io;

use clap::{CommandFactory as _, Parser, Subcommand};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing_subscriber::EnvFilter;

use crate::exit::Exit;
use crate::fault::Fault;
use crate::reconcile::Error;
use crate::spec;
use crate::state::Instance;
use crate::view;
use output::Output;

const EXAMPLES: &str = "\
Examples:
  vnetctl attach --nat eth0        translate everything that leaves by eth0
  vnetctl status                   what is attached, and whether it is well
  vnetctl flows --top 10           the ten busiest connections
  vnetctl counters                 what happened to packets, by reason
  vnetctl forward add tcp 80 10.0.0.2
                                   port 80 of the outside address leads to 10.0.0.2
  vnetctl detach eth0              everything back as it was";

/// vnet: NAT in the kernel's fast path, by eBPF. Nothing runs in the background: programs and
/// tables stay in the kernel until they are detached.
#[derive(Debug, Parser)]
#[command(name = "vnetctl", version, max_term_width = 100, after_help = EXAMPLES)]
#[command(after_long_help = format!("{EXAMPLES}\n\n{}", Exit::table()))]
pub struct Cli {
    /// Print JSON, also for errors
    #[arg(short, long, global = true, help_heading = "Output")]
    json: bool,
    /// Indent the JSON
    #[arg(short, long, global = true, help_heading = "Output")]
    pretty: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Attach(Box<attach::Args>),
    Apply(apply::Args),
    Detach(detach::Args),
    Status(status::Args),
    Flows(flows::Args),
    Forward(forward::Args),
    Mappings(mappings::Args),
    Counters(counters::Args),
    Blocks(blocks::Args),
    Doctor(doctor::Args),
    Events(events::Args),
    Log(log::Args),
    Completions(completions::Args),
    Man(man::Args),
}

/// Runs the command line of this process to its end.
pub async fn run() -> Exit {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return refuse(&error),
    };
    listen();
    let output = Output { json: cli.json, pretty: cli.pretty };
    match dispatch(&cli.command, &output).await {
        Ok(exit) => exit,
        Err(Error::Io { source, .. }) if source.kind() == io::ErrorKind::BrokenPipe => Exit::Ok,
        Err(error) => {
            output.error(error.exit(), &error.sentences());
            error.exit()
        }
    }
}

async fn dispatch(command: &Command, output: &Output) -> Result<Exit, Error> {
    match command {
        Command::Attach(args) => attach::run(args, output).await,
        Command::Apply(args) => apply::run(args, output).await,
        Command::Detach(args) => detach::run(args, output).await,
        Command::Status(args) => status::run(args, output).await,
        Command::Flows(args) => flows::run(args, output).await,
        Command::Forward(args) => forward::run(args, output).await,
        Command::Mappings(args) => mappings::run(args, output).await,
        Command::Counters(args) => counters::run(args, output).await,
        Command::Blocks(args) => blocks::run(args, output).await,
        Command::Doctor(args) => doctor::run(args, output).await,
        Command::Events(args) => events::run(args, output).await,
        Command::Log(args) => log::run(args, output).await,
        Command::Completions(args) => completions::run(args),
        Command::Man(args) => man::run(args),
    }
}

/// Help and version are no errors; everything else clap says is a wrong command line.
fn refuse(error: &clap::Error) -> Exit {
    if !error.use_stderr() {
        // A reader that went away is no failure.
        let _ = error.print();
        return Exit::Ok;
    }
    let wants_json = std::env::args().any(|arg| {
        arg == "--json" || (arg.starts_with('-') && !arg.starts_with("--") && arg.contains('j'))
    });
    if wants_json {
        let sentence = sentence(&error.to_string());
        Output { json: true, pretty: false }.error(Exit::Usage, &[sentence]);
    } else {
        let _ = error.print();
    }
    Exit::Usage
}

/// What is wrong, without the hints and the usage that clap adds in paragraphs of their own.
fn sentence(text: &str) -> String {
    let first = text.trim().split("\n\n").next().unwrap_or_default();
    let words: Vec<_> = first.trim_start_matches("error: ").split_whitespace().collect();
    words.join(" ")
}

/// `VNET_LOG=debug` shows what vnetctl itself does, step by step, on stderr.
fn listen() {
    let level = std::env::var("VNET_LOG").unwrap_or_else(|_| "off".to_owned());
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::new(format!("vnet_ctl={level}")))
        .with_writer(io::stderr)
        .with_ansi(false)
        .without_time()
        .with_target(false);
    // Fails only when somebody else listens already, as in tests.
    let _ = subscriber.try_init();
}

/// The command line's definition, from which completions and man pages are made.
#[must_use]
pub fn definition() -> clap::Command {
    Cli::command()
}

/// Every Ctrl-C from now on, also those that come while nobody waits.
fn interrupts() -> Result<Signal, Error> {
    signal(SignalKind::interrupt()).map_err(|error| Error::io("listen for Ctrl-C", error))
}

/// The instances whose tables are shown. Those that cannot be are told of.
async fn shown(only: Option<&spec::Instance>, output: &Output) -> Result<Vec<Instance>, Error> {
    let (whole, unfit) = view::instances(only).await?;
    unfit.iter().for_each(|fault| output.note(&format!("left out: {fault}")));
    Ok(whole)
}

/// The instance that was named, if one was.
fn named(instance: Option<&String>) -> Result<Option<spec::Instance>, Error> {
    let parsed = instance.map(|name| spec::Instance::parse(name)).transpose();
    parsed.map_err(|fault: Fault| fault.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_usage_error_is_one_sentence() {
        let said = |words: &[&str]| {
            let words = ["vnetctl"].iter().chain(words);
            sentence(&Cli::try_parse_from(words).unwrap_err().to_string())
        };
        assert_eq!(said(&["frobnicate"]), "unrecognized subcommand 'frobnicate'");
        assert_eq!(
            said(&["attach"]),
            "the following required arguments were not provided: --nat <DEV>"
        );
        assert_eq!(said(&["flows", "--tpo", "3"]), "unexpected argument '--tpo' found");
    }

    #[test]
    fn force_is_for_one_named_instance() {
        let parse = |line: &str| Cli::try_parse_from(line.split(' ')).is_ok();
        assert!(parse("vnetctl detach --all --instance lab --force"));
        assert!(!parse("vnetctl detach --all --force"));
        assert!(!parse("vnetctl detach eth0 --instance lab --force"));
    }

    #[test]
    fn the_definition_is_sound() {
        definition().debug_assert();
    }
}
