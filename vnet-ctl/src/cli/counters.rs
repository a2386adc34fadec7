//! `vnetctl counters`

use std::time::Duration;

use super::output::Output;
use super::table::{Align, grouped, several, with};
use super::watch::{self, Snapshot};
use super::{named, shown};
use crate::exit::Exit;
use crate::reconcile::Error;
use crate::spec::Instance;
use crate::view::{self, CounterRow, Rates};

/// What happened to packets, by reason
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  vnetctl counters\n  vnetctl counters --all\n  vnetctl -j counters --watch"
)]
pub(super) struct Args {
    /// This instance, wherever it is [default: those of this network namespace]
    #[arg(long, value_name = "NAME")]
    instance: Option<String>,
    /// Also those that are zero
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    watch: watch::Watch,
}

pub(super) async fn run(args: &Args, output: &Output) -> Result<Exit, Error> {
    let only = named(args.instance.as_ref())?;
    if args.watch.watch {
        let mut rates = Rates::default();
        return watch::watch(&args.watch, output, async |since| {
            snapshot(only.as_ref(), args.all, &mut rates, since, output).await
        })
        .await;
    }
    let rows = view::counters(&shown(only.as_ref(), output).await?, args.all)?;
    output.print(&rows, || text(&rows))?;
    Ok(Exit::Ok)
}

async fn snapshot(
    only: Option<&Instance>,
    all: bool,
    rates: &mut Rates<(String, &'static str)>,
    since: Option<Duration>,
    output: &Output,
) -> Result<Snapshot, Error> {
    let mut rows = view::counters(&view::instances(only).await?.0, all)?;
    let packets = rows.iter().map(|row| ((row.instance.clone(), row.name), row.packets)).collect();
    for (row, rate) in rows.iter_mut().zip(rates.next(since, packets)) {
        row.packets_per_s = rate;
    }
    Ok(Snapshot { title: "vnet: counters".to_owned(), text: text(&rows), json: output.line(&rows) })
}

/// Which column names the instance.
const INSTANCE: usize = 0;
/// Which column has the rates.
const RATES: usize = 4;

const COLUMNS: [(&str, Align); 7] = [
    ("instance", Align::Left),
    ("name", Align::Left),
    ("verdict", Align::Left),
    ("packets", Align::Right),
    ("packets/s", Align::Right),
    ("bytes", Align::Right),
    ("meaning", Align::Left),
];

pub(super) fn text(rows: &[CounterRow]) -> String {
    if rows.is_empty() {
        return "no packets yet\n".to_owned();
    }
    let cells = |row: &CounterRow| {
        vec![
            row.instance.clone(),
            row.name.to_owned(),
            row.verdict.to_owned(),
            grouped(row.packets),
            row.packets_per_s.map(grouped).unwrap_or_default(),
            grouped(row.bytes),
            row.meaning.to_owned(),
        ]
    };
    // Without a look before there are no rates, and no column for them.
    let rates = rows.iter().any(|row| row.packets_per_s.is_some());
    let several = several(rows.iter().map(|row| row.instance.as_str()));
    with(&[(INSTANCE, several), (RATES, rates)], &COLUMNS, rows.iter().map(cells).collect())
}
