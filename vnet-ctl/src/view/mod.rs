//! What is shown: rows made from the tables, ready for people and for JSON.
//!
//! JSON keys are those of `ip -j` where the idea exists there; times are seconds, rates are per
//! second, and a key that ends in `_s` is a number of seconds.

mod blocks;
mod clock;
mod counters;
mod events;
mod filter;
mod flows;
mod forwards;
mod log;
mod mappings;
mod problem;
mod rate;
mod routed;
mod said;
mod shortcut;
mod status;

pub use blocks::{BlockRow, Question, blocks};
pub use clock::{now, seconds};
pub use counters::{CounterRow, counters};
pub use events::{EventRow, What, event_row};
pub use filter::{By, Filter};
pub use flows::{FlowIdentity, FlowRow, flows};
pub use forwards::{ForwardRow, forwards};
pub use log::{Decision, LogRow, log_row};
pub use mappings::{MappingRow, mappings};
pub use rate::Rates;
pub use routed::routed;
pub use shortcut::{Remembered, Way, Why};
pub use status::{
    Health, HookRow, InsideRow, InstanceRow, Outside6Row, OutsideRow, Settings, status,
};

use crate::bpf::{self, Calm};
use crate::fault::Fault;
use crate::netlink::Netlink;
use crate::proc::privilege;
use crate::reconcile::{Error, Scope, Seen, observe};
use crate::spec;
use crate::state::{Found, Instance};

/// The complete instances of this namespace, or the named one wherever it is; and of those that cannot be
/// shown, why.
///
/// # Errors
/// When there are none.
pub async fn instances(
    only: Option<&spec::Instance>,
) -> Result<(Vec<Instance>, Vec<Fault>), Error> {
    let seen = look().await?;
    let netns = seen.host.netns;
    let meant = seen.instances.into_values().filter(|found| match only {
        Some(name) => found.instance().name == *name,
        None => found.instance().config.netns == netns,
    });
    let (mut whole, mut unfit) = (Vec::new(), Vec::new());
    for found in meant {
        match found {
            Found::Whole(instance) => whole.push(*instance),
            Found::HalfMade(instance) | Found::Other(instance, _) => {
                unfit.push(Fault::Unfit(instance.name.to_string()));
            }
        }
    }
    match (whole.is_empty(), unfit.is_empty(), only) {
        (false, _, _) => Ok((whole, unfit)),
        (true, false, _) => Err(Error::Faults(unfit)),
        (true, true, Some(name)) => Err(Fault::NoInstance(name.to_string()).into()),
        (true, true, None) => Err(Fault::Nothing.into()),
    }
}

/// Looks at everything, when allowed to.
async fn look() -> Result<Seen, Error> {
    privilege::demand()?;
    bpf::reach()?;
    let _calm = Calm::wait()?;
    observe(&Netlink::open()?, Scope::Instances).await
}
