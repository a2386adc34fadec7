//! `vnetctl mappings`

use std::net::SocketAddr;

use super::output::Output;
use super::table::{Align, duration, several, with};
use super::{named, shown};
use crate::exit::Exit;
use crate::reconcile::Error;
use crate::view::{self, MappingRow};

/// Who inside has which port outside
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  vnetctl mappings\n  vnetctl -j mappings")]
pub(super) struct Args {
    /// This instance, wherever it is [default: those of this network namespace]
    #[arg(long, value_name = "NAME")]
    instance: Option<String>,
}

pub(super) async fn run(args: &Args, output: &Output) -> Result<Exit, Error> {
    let instances = shown(named(args.instance.as_ref())?.as_ref(), output).await?;
    let rows = view::mappings(&instances)?;
    output.print(&rows, || text(&rows))?;
    Ok(Exit::Ok)
}

/// Which column names the instance.
const INSTANCE: usize = 0;

const COLUMNS: [(&str, Align); 6] = [
    ("instance", Align::Left),
    ("proto", Align::Left),
    ("inside", Align::Left),
    ("outside", Align::Left),
    ("flows", Align::Right),
    ("age", Align::Right),
];

fn text(rows: &[MappingRow]) -> String {
    if rows.is_empty() {
        return "no mappings\n".to_owned();
    }
    let cells = |row: &MappingRow| {
        vec![
            row.instance.clone(),
            row.proto.to_owned(),
            SocketAddr::new(row.src, row.sport).to_string(),
            SocketAddr::new(row.outside, row.outside_port).to_string(),
            row.flows.to_string(),
            duration(row.age_s),
        ]
    };
    let several = several(rows.iter().map(|row| row.instance.as_str()));
    with(&[(INSTANCE, several)], &COLUMNS, rows.iter().map(cells).collect())
}
