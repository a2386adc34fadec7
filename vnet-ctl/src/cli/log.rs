//! `vnetctl log`

use std::time::Duration;

use super::output::Output;
use super::{named, shown};
use crate::bpf::{Log, Pins};
use crate::exit::Exit;
use crate::fault::Fault;
use crate::reconcile::Error;
use crate::spec::Level;
use crate::state::{Instance, read_name};
use crate::view::{self, Decision, LogRow};

const EXAMPLES: &str = "\
Examples:
  vnetctl attach --nat eth0 --log-level warn     what is dropped, and why
  vnetctl attach --nat eth0 --log-level debug    every decision, one for each packet
  vnetctl log

Give attach your other options too: what is not said is the default again. One reader at a time: two would share the lines.";

/// Between two looks at the log: short for people, long for the processor.
const PAUSE: Duration = Duration::from_millis(100);

/// Follow the datapath's log until Ctrl-C
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// This instance [default: 'default', or the only one of this network namespace]
    #[arg(long, value_name = "NAME")]
    instance: Option<String>,
}

pub(super) async fn run(args: &Args, output: &Output) -> Result<Exit, Error> {
    let instances = shown(named(args.instance.as_ref())?.as_ref(), output).await?;
    // The default instance, or the only one there is.
    let instance = instances.iter().find(|instance| instance.name.as_str() == "default");
    let Some(instance) = instance.or(instances.first()) else { return Err(Fault::Nothing.into()) };
    // What is below warnings is never said.
    if Level::from_number(instance.config.log_level) < Level::Warn {
        return Err(Fault::LogOff(instance.name.to_string()).into());
    }
    let mut stop = super::interrupts()?;
    let mut log = Log::open(&Pins::of(&instance.name))?;
    loop {
        for line in log.take() {
            let row = view::log_row(line, |index| device(instance, index));
            output.print(&row, || text(&row))?;
        }
        tokio::select! {
            () = tokio::time::sleep(PAUSE) => {}
            _ = stop.recv() => return Ok(Exit::Ok),
        }
    }
}

/// The name a managed device was attached under; others never appear in the log.
fn device(instance: &Instance, index: u32) -> String {
    let link = instance.links.get(&index);
    link.map_or_else(|| format!("device {index}"), |link| read_name(&link.name))
}

fn text(row: &LogRow) -> String {
    let level = &row.level;
    match &row.decision {
        Some(Decision { ifname, hook, reason, proto, src, dst, .. }) if src.port() != 0 => {
            format!("{level:<5} {ifname} {hook:<3} {reason:<14} {proto} {src} > {dst}\n")
        }
        Some(Decision { ifname, hook, reason, .. }) => {
            format!("{level:<5} {ifname} {hook:<3} {reason}\n")
        }
        None => format!("{level:<5} {}\n", row.message),
    }
}
