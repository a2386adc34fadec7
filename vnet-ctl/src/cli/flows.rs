//! `vnetctl flows`

use std::net::SocketAddr;
use std::time::Duration;

use vnet_common::tcp::State;

use super::named;
use super::output::Output;
use super::table::{Align, duration, grouped, several, with};
use super::watch::{self, Snapshot};
use crate::exit::Exit;
use crate::fault::Fault;
use crate::reconcile::Error;
use crate::spec::{Instance, any_prefix, number};
use crate::state::Instance as Found;
use crate::view::{self, By, Filter, FlowIdentity, FlowRow, Rates};

const EXAMPLES: &str = "\
Examples:
  vnetctl flows
  vnetctl flows --top 10 --by bytes
  vnetctl flows --watch --top 20 --by packets
  vnetctl flows -d --dport 443
  vnetctl flows --routed
  vnetctl flows --src 10.0.0.0/24 --proto tcp --state ESTABLISHED";

/// Connections that are translated now, one line each
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// This instance, wherever it is [default: those of this network namespace]
    #[arg(long, value_name = "NAME")]
    instance: Option<String>,
    /// Only the N busiest
    #[arg(long, value_name = "N")]
    top: Option<String>,
    /// What makes them busy [default with --top: bytes]
    #[arg(long, value_name = "packets|bytes")]
    by: Option<String>,
    /// Only inside sources in this prefix
    #[arg(long, value_name = "CIDR")]
    src: Option<String>,
    /// Only destinations in this prefix
    #[arg(long, value_name = "CIDR")]
    dst: Option<String>,
    /// Only this inside source port
    #[arg(long, value_name = "PORT")]
    sport: Option<String>,
    /// Only this destination port
    #[arg(long, value_name = "PORT")]
    dport: Option<String>,
    /// Only this protocol
    #[arg(long, value_name = "tcp|udp|icmp")]
    proto: Option<String>,
    /// Only this state, such as ESTABLISHED
    #[arg(long, value_name = "STATE")]
    state: Option<String>,
    /// Instead, those that no port is translated for (untranslated ones, and IPv6 by prefix), as far as the
    /// shortcut remembers them
    #[arg(long)]
    routed: bool,
    /// Also the way that packets take, and why: the shortcut past the kernel's routing, or not
    #[arg(short, long)]
    details: bool,
    #[command(flatten)]
    watch: watch::Watch,
}

pub(super) async fn run(args: &Args, output: &Output) -> Result<Exit, Error> {
    let filter = filter(args).map_err(Error::Faults)?;
    let only = named(args.instance.as_ref())?;
    if args.watch.watch {
        let mut rates = Rates::default();
        return watch::watch(&args.watch, output, async |since| {
            snapshot(only.as_ref(), &filter, &mut rates, since, (args, output)).await
        })
        .await;
    }
    let rows = rows(args, &super::shown(only.as_ref(), output).await?, &filter)?;
    output.print(&rows, || shown(&rows, args.details))?;
    Ok(Exit::Ok)
}

fn rows(args: &Args, instances: &[Found], filter: &Filter) -> Result<Vec<FlowRow>, Error> {
    if args.routed { view::routed(instances, filter) } else { view::flows(instances, filter) }
}

async fn snapshot(
    only: Option<&Instance>,
    filter: &Filter,
    rates: &mut Rates<FlowIdentity>,
    since: Option<Duration>,
    (args, output): (&Args, &Output),
) -> Result<Snapshot, Error> {
    let (instances, _) = view::instances(only).await?;
    let mut rows = rows(args, &instances, &Filter { top: None, ..filter.clone() })?;
    let title = format!("vnet: {} flows", grouped(rows.len() as u64));
    let bytes = rows.iter().map(|row| (row.identity(), row.bytes())).collect();
    for (row, rate) in rows.iter_mut().zip(rates.next(since, bytes)) {
        row.bytes_per_s = rate;
    }
    rows.truncate(filter.top.unwrap_or(usize::MAX));
    Ok(Snapshot { title, text: shown(&rows, args.details), json: output.line(&rows) })
}

/// The filter that was typed, or every fault in it.
fn filter(args: &Args) -> Result<Filter, Vec<Fault>> {
    let mut faults = Vec::new();
    let filter = Filter {
        src: keep(args.src.as_ref(), |word| any_prefix("--src", word), &mut faults),
        dst: keep(args.dst.as_ref(), |word| any_prefix("--dst", word), &mut faults),
        sport: keep(args.sport.as_ref(), |word| port("--sport", word), &mut faults),
        dport: keep(args.dport.as_ref(), |word| port("--dport", word), &mut faults),
        proto: keep(args.proto.as_ref(), proto, &mut faults),
        state: keep(args.state.as_ref(), state, &mut faults),
        by: keep(args.by.as_ref(), by, &mut faults).or(args.top.as_ref().map(|_| By::Bytes)),
        top: keep(args.top.as_ref(), top, &mut faults),
    };
    if faults.is_empty() { Ok(filter) } else { Err(faults) }
}

fn keep<T>(
    word: Option<&String>,
    read: impl Fn(&str) -> Result<T, Fault>,
    faults: &mut Vec<Fault>,
) -> Option<T> {
    read(word?).map_err(|fault| faults.push(fault)).ok()
}

fn port(option: &'static str, word: &str) -> Result<u16, Fault> {
    let port = number(option, word, 0, u16::MAX.into())?;
    Ok(u16::try_from(port).unwrap_or(u16::MAX))
}

fn top(word: &str) -> Result<usize, Fault> {
    Ok(number("--top", word, 1, u32::MAX)? as usize)
}

fn proto(word: &str) -> Result<&'static str, Fault> {
    let known = ["tcp", "udp", "icmp"].into_iter().find(|known| *known == word);
    known.ok_or_else(|| odd("--proto", word, "take tcp, udp or icmp"))
}

fn by(word: &str) -> Result<By, Fault> {
    match word {
        "packets" => Ok(By::Packets),
        "bytes" => Ok(By::Bytes),
        _ => Err(odd("--by", word, "take packets or bytes")),
    }
}

fn state(word: &str) -> Result<State, Fault> {
    let known = State::ALL.into_iter().find(|state| state.name().eq_ignore_ascii_case(word));
    known.ok_or_else(|| odd("--state", word, "take a state as `vnetctl flows` prints it"))
}

fn odd(option: &'static str, word: &str, hint: &'static str) -> Fault {
    Fault::Word { option, given: word.to_owned(), hint }
}

/// Which column names the instance.
const INSTANCE: usize = 0;
/// Which column has the rates.
const RATES: usize = 8;

const COLUMNS: [(&str, Align); 12] = [
    ("instance", Align::Left),
    ("proto", Align::Left),
    ("inside", Align::Left),
    ("destination", Align::Left),
    ("outside", Align::Left),
    ("state", Align::Left),
    ("packets out/in", Align::Right),
    ("bytes out/in", Align::Right),
    ("bytes/s", Align::Right),
    ("age", Align::Right),
    ("idle", Align::Right),
    ("left", Align::Right),
];

/// The table; with details, the ways of each flow below its line.
fn shown(rows: &[FlowRow], details: bool) -> String {
    let text = text(rows);
    if !details || rows.is_empty() {
        return text;
    }
    let mut lines = text.lines();
    let heading = lines.next().unwrap_or_default();
    let each = lines
        .zip(rows)
        .map(|(line, row)| format!("{line}\n    out  {}\n    in   {}\n", row.way_out, row.way_in));
    std::iter::once(format!("{heading}\n")).chain(each).collect()
}

pub(super) fn text(rows: &[FlowRow]) -> String {
    if rows.is_empty() {
        return "no flows\n".to_owned();
    }
    let cells = |row: &FlowRow| {
        let host = if row.host { " (host)" } else { "" };
        vec![
            row.instance.clone(),
            row.proto.to_owned(),
            format!("{}{host}", SocketAddr::new(row.src, row.sport)),
            SocketAddr::new(row.dst, row.dport).to_string(),
            SocketAddr::new(row.outside, row.outside_port).to_string(),
            row.state.to_owned(),
            format!("{}/{}", grouped(row.packets_out), grouped(row.packets_in)),
            format!("{}/{}", grouped(row.bytes_out), grouped(row.bytes_in)),
            row.bytes_per_s.map(grouped).unwrap_or_default(),
            duration(row.age_s),
            duration(row.idle_s),
            row.left_s.map(duration).unwrap_or_default(),
        ]
    };
    // Without a look before there are no rates, and no column for them.
    let rates = rows.iter().any(|row| row.bytes_per_s.is_some());
    let several = several(rows.iter().map(|row| row.instance.as_str()));
    with(&[(INSTANCE, several), (RATES, rates)], &COLUMNS, rows.iter().map(cells).collect())
}
