//! `vnetctl events`

use std::net::SocketAddr;
use std::time::Duration;

use vnet_common::policy::config_flag;

use super::output::Output;
use super::syslog::{LOCAL, Syslog};
use super::{named, shown};
use crate::bpf::{Events, Pins, Tables};
use crate::exit::Exit;
use crate::fault::Fault;
use crate::reconcile::Error;
use crate::view::{self, EventRow, What};

const EXAMPLES: &str = "\
Examples:
  vnetctl attach --nat eth0 --events
  vnetctl events                          what has happened since somebody asked last
  vnetctl -j events --follow              a line of JSON for each, until Ctrl-C
  vnetctl events --follow --syslog        to the syslog of this host
  vnetctl events --follow --syslog 192.0.2.7

Time, protocol, inside and outside address and port of every mapping that is made or ends; for ICMP
the query identifier is in the place of the port. Whom an inside host talks to is not told.

With port blocks (attach --port-block) a block is told of instead, once, when its host makes a mapping
and had none, and again when the last one ends: a line for however many ports. It is told anew when the
host gets another outside address. Mappings of this host itself are told of one by one.

Give attach your other options too: what is not said is the default again. Events wait for a reader
until 8,192 are waiting; what comes then is lost, and counted as event_lost. Reading takes them out:
two readers at a time would share them.";

/// Between two looks: short for people, long for the processor.
const PAUSE: Duration = Duration::from_millis(100);

/// Mappings that were made or have ended
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// Go on until Ctrl-C
    #[arg(short, long)]
    follow: bool,
    /// Send them to syslog (RFC 5424) instead of printing them: to a socket of this host, or by UDP
    /// to an address (port 514 if none is given)
    #[arg(long, value_name = "PATH|ADDRESS[:PORT]", num_args = 0..=1, default_missing_value = LOCAL)]
    syslog: Option<String>,
    /// This instance [default: 'default', or the only one of this network namespace]
    #[arg(long, value_name = "NAME")]
    instance: Option<String>,
}

pub(super) async fn run(args: &Args, output: &Output) -> Result<Exit, Error> {
    let syslog = args.syslog.as_deref().map(Syslog::open).transpose()?;
    let instances = shown(named(args.instance.as_ref())?.as_ref(), output).await?;
    // The default instance, or the only one there is.
    let instance = instances.iter().find(|instance| instance.name.as_str() == "default");
    let Some(instance) = instance.or(instances.first()) else { return Err(Fault::Nothing.into()) };
    if instance.config.flags & config_flag::EVENTS == 0 {
        return Err(Fault::EventsOff(instance.name.to_string()).into());
    }
    let mut stop = super::interrupts()?;
    let addresses = Tables::of(Pins::of(&instance.name)).addresses()?;
    let mut events = Events::open(&Pins::of(&instance.name))?;
    loop {
        for event in events.take() {
            let row = view::event_row(&event, instance.name.as_str(), &|addr| addresses.read(addr));
            match &syslog {
                Some(syslog) => syslog.send(&row).await?,
                None if output.json => output.write(&output.line(&row))?,
                None => output.write(&text(&row))?,
            }
        }
        if !args.follow {
            return Ok(Exit::Ok);
        }
        tokio::select! {
            () = tokio::time::sleep(PAUSE) => {}
            _ = stop.recv() => return Ok(Exit::Ok),
        }
    }
}

fn text(row: &EventRow) -> String {
    let EventRow { time, event, src, outside, .. } = row;
    match row.what {
        What::Mapping { proto, sport, outside_port } => {
            format!(
                "{time} {event} {proto:<4} {} {}\n",
                SocketAddr::new(*src, sport),
                SocketAddr::new(*outside, outside_port)
            )
        }
        What::Block { ports } => format!("{time} {event} block {src} {outside}:{ports}\n"),
    }
}
