//! `vnetctl detach`

use super::attach::print;
use super::named;
use super::output::Output;
use crate::exit::Exit;
use crate::fault::Fault;
use crate::reconcile::{self, Error, Target};
use crate::spec;

const EXAMPLES: &str = "\
Examples:
  vnetctl detach eth0
  vnetctl detach --all                   every instance of this network namespace
  vnetctl detach --all --instance lab    that instance, even when its device is gone

Instances of other network namespaces are never touched: detach them there.";

/// Stop translating, and put everything back as it was
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// The uplink
    #[arg(value_name = "DEV", conflicts_with = "all")]
    device: Option<String>,
    /// Everything: all instances of this network namespace, or all of the named one
    #[arg(long)]
    all: bool,
    /// Only this instance
    #[arg(long, value_name = "NAME")]
    instance: Option<String>,
    /// With --all --instance: remove its programs and tables although nobody can tell from here
    /// whether its network namespace lives; what was set there stays
    #[arg(long, requires_all = ["all", "instance"], conflicts_with = "device")]
    force: bool,
    /// Say what would be done, and do nothing
    #[arg(long)]
    dry_run: bool,
}

pub(super) async fn run(args: &Args, output: &Output) -> Result<Exit, Error> {
    let instance = named(args.instance.as_ref())?;
    let target = match (&args.device, args.all, instance) {
        (Some(device), _, instance) => Target::Device(spec::device_name(device)?, instance),
        (None, true, Some(name)) => Target::Instance { name, force: args.force },
        (None, true, None) => Target::All,
        (None, false, _) => return Err(Fault::DetachWhat.into()),
    };
    let report = reconcile::detach(&target, args.dry_run).await?;
    let back = report.warnings.is_empty();
    print(
        &report,
        if back { "detached: everything is as it was before" } else { "detached" },
        output,
    )?;
    Ok(Exit::Ok)
}
