//! `vnetctl apply`

use std::fs;
use std::path::PathBuf;

use serde::Serialize;

use super::attach::{Row, text};
use super::output::Output;
use crate::exit::Exit;
use crate::reconcile::{self, Error};
use crate::spec::Spec;

const EXAMPLES: &str = "\
Examples:
  vnetctl apply /etc/vnet/nat.toml --dry-run
  vnetctl apply /etc/vnet/nat.toml

A file, in TOML:
  [nat.default]                 # an instance
  nat = \"eth0\"                  # each key is an option of `vnetctl attach`
  inside = [\"10.0.0.0/8\", \"lan0\"]
  timeout-udp = 120

Each table [nat.NAME] is what `vnetctl attach --instance NAME` is told, and means the same: what is
not said is the default, and applying again changes nothing. Every fault of the file is told, with
its line, before anything is done, and where one of several instances cannot be attached after all,
what was done for the others is taken back. Instances that the file does not name are left alone.

`vnetctl -j status` has under \"spec\" what an instance was told, key by key.";

/// Do what a file says: attach every instance it names
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// The file
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Say what would be done, and do nothing
    #[arg(long)]
    dry_run: bool,
}

/// What was done for one instance.
#[derive(Serialize)]
struct Applied<'a> {
    instance: &'a str,
    #[serde(flatten)]
    row: Row<'a>,
}

pub(super) async fn run(args: &Args, output: &Output) -> Result<Exit, Error> {
    let file = args.file.display().to_string();
    let read = fs::read_to_string(&args.file);
    let words = read.map_err(|error| Error::io(format!("read {file}"), error))?;
    let spec = Spec::parse(&file, &words).map_err(Error::Faults)?;
    let done = reconcile::attach_all(&spec.nat, args.dry_run).await?;
    let reports: Vec<_> = spec.nat.iter().zip(done).collect();
    for (_, report) in &reports {
        report.notes.iter().chain(&report.warnings).for_each(|sentence| output.note(sentence));
    }
    let rows: Vec<_> = reports
        .iter()
        .map(|(wish, report)| Applied { instance: wish.instance.as_str(), row: Row::of(report) })
        .collect();
    output.print(&rows, || {
        let each = reports.iter().map(|(wish, report)| {
            let done = if report.in_place { "changed" } else { "attached" };
            format!("nat.{}: {}", wish.instance, text(report, done))
        });
        if reports.is_empty() { "the file names nothing\n".to_owned() } else { each.collect() }
    })?;
    Ok(Exit::Ok)
}
