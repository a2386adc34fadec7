//! `vnetctl counters`

use super::named;
use super::output::Output;
use super::table::{Align, grouped, table};
use crate::exit::Exit;
use crate::reconcile::Error;
use crate::view::{self, CounterRow};

/// What happened to packets, by reason
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  vnetctl counters\n  vnetctl counters --all")]
pub(super) struct Args {
    /// Only this instance
    #[arg(long, value_name = "NAME")]
    instance: Option<String>,
    /// Also those that are zero
    #[arg(long)]
    all: bool,
}

pub(super) async fn run(args: &Args, output: &Output) -> Result<Exit, Error> {
    let instances = view::instances(named(args.instance.as_ref())?.as_ref()).await?;
    let rows = view::counters(&instances, args.all)?;
    output.print(&rows, || text(&rows))?;
    Ok(Exit::Ok)
}

const COLUMNS: [(&str, Align); 5] = [
    ("name", Align::Left),
    ("verdict", Align::Left),
    ("packets", Align::Right),
    ("bytes", Align::Right),
    ("meaning", Align::Left),
];

pub(super) fn text(rows: &[CounterRow]) -> String {
    if rows.is_empty() {
        return "no packets yet\n".to_owned();
    }
    let cells = |row: &CounterRow| {
        vec![
            row.name.to_owned(),
            row.verdict.to_owned(),
            grouped(row.packets),
            grouped(row.bytes),
            row.meaning.to_owned(),
        ]
    };
    table(&COLUMNS, &rows.iter().map(cells).collect::<Vec<_>>())
}
