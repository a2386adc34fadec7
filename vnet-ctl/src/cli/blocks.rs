//! `vnetctl blocks`

use super::output::Output;
use super::table::{Align, several, with};
use super::{named, shown};
use crate::exit::Exit;
use crate::fault::Fault;
use crate::reconcile::Error;
use crate::spec;
use crate::view::{self, BlockRow, Question};

const EXAMPLES: &str = "\
Examples:
  vnetctl blocks                                who has which ports
  vnetctl blocks --host 10.0.0.7                which ports a host has
  vnetctl blocks --outside 203.0.113.7:5201     who has a port

The answer is computed from the words of attach, so it holds for as long as the instance was
attached with these words; no log is needed. A port may also be that of a socket of this host itself.";

/// Who has which port block (attach --port-block), computed both ways without any log
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// Only the blocks of this inside host
    #[arg(long, value_name = "IP", conflicts_with = "outside")]
    host: Option<String>,
    /// Only the block that this outside port is in
    #[arg(long, value_name = "IP:PORT")]
    outside: Option<String>,
    /// This instance, wherever it is [default: those of this network namespace]
    #[arg(long, value_name = "NAME")]
    instance: Option<String>,
}

impl Args {
    fn question(&self) -> Result<Question, Fault> {
        match (&self.host, &self.outside) {
            (Some(host), _) => Ok(Question::Host(host.parse().map_err(|_| Fault::Word {
                option: "--host",
                given: host.clone(),
                hint: "give one IPv4 address, such as 10.0.0.7",
            })?)),
            (None, Some(end)) => Ok(Question::Outside(end.parse().map_err(|_| Fault::Word {
                option: "--outside",
                given: end.clone(),
                hint: "give an IPv4 address and a port, such as 203.0.113.7:5201",
            })?)),
            (None, None) => Ok(Question::All),
        }
    }
}

pub(super) async fn run(args: &Args, output: &Output) -> Result<Exit, Error> {
    let question = args.question()?;
    let only: Option<spec::Instance> = named(args.instance.as_ref())?;
    let instances = shown(only.as_ref(), output).await?;
    let answers = instances.iter().map(|instance| view::blocks(instance, question));
    let (found, refused): (Vec<_>, Vec<_>) = answers.partition(Result::is_ok);
    let rows: Vec<BlockRow> = found.into_iter().flatten().flatten().collect();
    if let Some(Err(error)) = refused.into_iter().next()
        && rows.is_empty()
    {
        return Err(error);
    }
    output.print(&rows, || text(&rows))?;
    Ok(Exit::Ok)
}

/// Which column names the instance.
const INSTANCE: usize = 0;

const COLUMNS: [(&str, Align); 5] = [
    ("instance", Align::Left),
    ("host", Align::Left),
    ("outside", Align::Left),
    ("ports", Align::Left),
    ("uplink", Align::Left),
];

fn text(rows: &[BlockRow]) -> String {
    let cells = |row: &BlockRow| {
        let (host, outside) = (row.host.to_string(), row.outside.to_string());
        vec![row.instance.clone(), host, outside, row.ports.to_string(), row.ifname.clone()]
    };
    let several = several(rows.iter().map(|row| row.instance.as_str()));
    with(&[(INSTANCE, several)], &COLUMNS, rows.iter().map(cells).collect())
}
