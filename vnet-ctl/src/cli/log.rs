//! `vnetctl log`

use std::time::Duration;

use serde::Serialize;

use super::named;
use super::output::Output;
use crate::bpf::{Line, Log, Pins};
use crate::exit::Exit;
use crate::fault::Fault;
use crate::reconcile::Error;
use crate::view;

const EXAMPLES: &str = "\
Examples:
  vnetctl attach --nat eth0 --log-level debug
  vnetctl log

One reader at a time: two would share the lines.";

/// Between two looks at the log: short for people, long for the processor.
const PAUSE: Duration = Duration::from_millis(100);

/// Follow the datapath's log until Ctrl-C
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// This instance
    #[arg(long, value_name = "NAME")]
    instance: Option<String>,
}

#[derive(Serialize)]
struct Row<'a> {
    level: &'a str,
    message: &'a str,
}

pub(super) async fn run(args: &Args, output: &Output) -> Result<Exit, Error> {
    let instances = view::instances(named(args.instance.as_ref())?.as_ref()).await?;
    // The default instance, or the only one there is.
    let instance = instances.iter().find(|instance| instance.name.as_str() == "default");
    let Some(instance) = instance.or(instances.first()) else { return Ok(Exit::NotAttached) };
    if instance.config.log_level == 0 {
        return Err(Fault::LogOff(instance.name.to_string()).into());
    }
    let mut log = Log::open(&Pins::of(&instance.name))?;
    loop {
        for line in log.take() {
            print(&line, output)?;
        }
        tokio::select! {
            () = tokio::time::sleep(PAUSE) => {}
            stop = tokio::signal::ctrl_c() => {
                return stop.map(|()| Exit::Ok).map_err(|error| Error::io("wait for Ctrl-C", error));
            }
        }
    }
}

fn print(line: &Line, output: &Output) -> Result<(), Error> {
    let Line { level, message } = line;
    output.print(&Row { level, message }, || format!("{level:<5} {message}\n"))
}
