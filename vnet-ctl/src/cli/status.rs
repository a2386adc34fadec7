//! `vnetctl status`

use std::fmt::Write as _;

use super::named;
use super::output::Output;
use super::table::grouped;
use crate::exit::Exit;
use crate::reconcile::Error;
use crate::view::{self, Health, HookRow, InstanceRow, Outside6Row, OutsideRow, Settings};

/// What is attached, and whether it is well
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  vnetctl status\n  vnetctl -j -p status --instance default")]
pub(super) struct Args {
    /// Only this instance
    #[arg(long, value_name = "NAME")]
    instance: Option<String>,
}

pub(super) async fn run(args: &Args, output: &Output) -> Result<Exit, Error> {
    let rows = view::status(named(args.instance.as_ref())?.as_ref()).await?;
    output.print(&rows, || {
        if rows.is_empty() {
            "nothing is attached\n".to_owned()
        } else {
            rows.iter().map(text).collect::<Vec<_>>().join("\n")
        }
    })?;
    Ok(Exit::Ok)
}

fn text(row: &InstanceRow) -> String {
    let health = match row.health {
        Health::Ok => "ok",
        Health::Broken => "BROKEN",
        Health::Elsewhere => "in another network namespace",
        Health::Unseen => "in another network namespace, unless that is gone",
    };
    let mut text = format!("instance {}: {health}\n", row.instance);
    // Writing to a String cannot fail.
    for problem in &row.problems {
        let _ = writeln!(text, "  problem   {problem}");
    }
    for device in &row.devices {
        let _ = write!(text, "  {:<8}  {} (index {})", device.role, device.ifname, device.ifindex);
        let _ = writeln!(text, ", {}", hooks(row, device));
    }
    let ports = row.settings.as_ref().map(ports);
    let ports = ports.unwrap_or_default();
    for OutsideRow { address, ifname, .. } in &row.outsides {
        let on = if row.outsides.len() > 1 { format!(" on {ifname}") } else { String::new() };
        let _ = writeln!(text, "  outside   {address}{on}{ports}");
    }
    for Outside6Row { address, ifname, .. } in &row.outsides6 {
        let _ = writeln!(text, "  outside   {address} on {ifname} (NAT66)");
    }
    for inside in &row.inside {
        let _ = writeln!(text, "  sources   {} {}", inside.prefix, inside.action);
    }
    for exclude in row.settings.iter().flat_map(|settings| &settings.exclude) {
        let _ = writeln!(text, "  exclude   {exclude}");
    }
    text.push_str(&row.settings.as_ref().map(told).unwrap_or_default());
    let _ = writeln!(text, "  pins      {}", row.pins);
    text
}

fn ports(settings: &Settings) -> String {
    let low = settings.low_ports.map(|low| format!(" and {low}")).unwrap_or_default();
    let block = settings.port_block.map(|size| format!(", {size} for each inside host"));
    format!(", ports {}{low}{}", settings.ports, block.unwrap_or_default())
}

fn limits(row: &Settings) -> String {
    let limit = |number: Option<u32>| number.map_or("no limit".to_owned(), |n| n.to_string());
    let (ports, flows) = (limit(row.max_ports_per_host), limit(row.max_flows_per_host));
    format!("ports {ports}, flows {flows}")
}

fn hooks(row: &InstanceRow, device: &HookRow) -> String {
    let here = matches!(row.health, Health::Ok | Health::Broken);
    let hooks: Vec<_> = device.hooks.iter().map(|hook| hook.name()).collect();
    let xdp = if device.xdp == "off" { String::new() } else { format!(", xdp {}", device.xdp) };
    let hooks: Vec<_> = hooks.into_iter().filter(|hook| *hook != "xdp").collect();
    match (hooks.as_slice(), device.via) {
        ([], "clsact") if !here => "filters of clsact, which cannot be seen from here".to_owned(),
        ([], via) => format!("nothing attached by {via}"),
        (hooks, via) => format!("{} attached by {via}{xdp}", hooks.join(" and ")),
    }
}

fn told(row: &Settings) -> String {
    let (flows, max) = (grouped(row.flows as u64), grouped(row.max_flows.into()));
    let mappings = grouped(row.mappings as u64);
    let mebibytes = grouped(row.memory_bytes.div_ceil(1 << 20));
    format!(
        "  flows     {flows} of {max}, {mappings} mappings, {mebibytes} MiB of maps\n  \
           timeouts  udp {} s{}, icmp {} s, tcp {} s established and {} s else, port rest {} s\n  \
           filtering {}\n  \
           each host {}\n  \
           refusals  {}\n  \
           events    {}\n  \
           log       {}\n",
        row.timeout_udp_s,
        if row.refresh == "both" { "" } else { " after the last packet out" },
        row.timeout_icmp_s,
        row.timeout_tcp_established_s,
        row.timeout_tcp_transitory_s,
        row.port_rest_s,
        row.filtering.name(),
        limits(row),
        if row.answer { "answered by ICMP" } else { "not answered" },
        if row.events { "on" } else { "off" },
        row.log_level.name()
    )
}
