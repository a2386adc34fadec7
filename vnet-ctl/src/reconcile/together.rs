//! `attach` and `apply`: one wish or several, carried out together or not at all.

use std::collections::BTreeMap;

use super::apply::{Done, Report};
use super::attach::{carry_out, check, foresee, look};
use super::error::Error;
use super::observe::Seen;
use super::trap::Trap;
use crate::bpf::{self, Calm, Lock};
use crate::exit::Exit;
use crate::fault::Fault;
use crate::netlink::Netlink;
use crate::proc::privilege;
use crate::spec::Attach;
use crate::state::Found;

/// Makes what the wish says; with `dry_run` only says what it would do.
///
/// # Errors
/// When the wish cannot be, or a step fails; then everything is as it was before.
pub async fn attach(wish: &Attach, dry_run: bool) -> Result<Report, Error> {
    let mut reports = attach_all(std::slice::from_ref(wish), dry_run).await?;
    Ok(reports.pop().unwrap_or_default())
}

/// Makes what all of the wishes say, in their order; with `dry_run` only says what it would do.
///
/// # Errors
/// When one of them cannot be, or a step fails; then everything is as it was before, also what was
/// done for others of them.
pub async fn attach_all(wishes: &[Attach], dry_run: bool) -> Result<Vec<Report>, Error> {
    privilege::demand()?;
    bpf::reach()?;
    let netlink = Netlink::open()?;
    let dry_run = dry_run || Trap::lists();
    let calm = Calm::wait()?;
    let seen = look_and_check(&netlink, wishes).await?;
    drop(calm);
    if dry_run || wishes.len() > 1 {
        // What cannot be planned of one shall be known before any is touched.
        let foreseen = wishes.iter().zip(&seen).map(|(wish, seen)| foresee(wish, seen));
        let reports = foreseen.collect::<Result<Vec<_>, _>>()?;
        if dry_run {
            return Ok(reports);
        }
    }
    let mounted = !wishes.is_empty() && bpf::mount()?;
    let result = locked(&netlink, wishes).await;
    if mounted && result.is_err() {
        // Nothing is in it: what was pinned has been taken back.
        let _ = bpf::unmount();
    }
    let mut reports = result?;
    if let (Some(first), true) = (reports.first_mut(), mounted) {
        first.notes.insert(0, format!("mounted bpffs on {}", bpf::ROOT));
    }
    Ok(reports)
}

/// What is there, for each wish, when nothing speaks against any of them.
async fn look_and_check(netlink: &Netlink, wishes: &[Attach]) -> Result<Vec<Seen>, Error> {
    let mut all = Vec::new();
    let mut faults = Vec::new();
    let mut coming = BTreeMap::new();
    for wish in wishes {
        let seen = look(netlink, wish, false).await?;
        // Those that are new will be there when it is the turn of this one.
        let mut instances: BTreeMap<_, _> = coming.clone();
        instances.extend(seen.instances.clone());
        let then = Seen { host: seen.host.clone(), instances };
        let (wanted, against) = check(wish, &then);
        faults.extend(against);
        coming.extend(wanted.map(|it| (wish.instance.clone(), Found::Whole(Box::new(it)))));
        all.push(seen);
    }
    if faults.is_empty() { Ok(all) } else { Err(Error::Faults(faults)) }
}

async fn locked(netlink: &Netlink, wishes: &[Attach]) -> Result<Vec<Report>, Error> {
    let _lock = Lock::take()?;
    let mut done = Done::nothing();
    let mut reports = Vec::new();
    for wish in wishes {
        match carry_out(netlink, wish, &mut done).await {
            Ok(report) => reports.push(report),
            Err(error) => {
                let error = named(done.take_back(error).await);
                let instance = wish.instance.to_string();
                let among = wishes.len() > 1;
                return Err(if among {
                    Error::Of { instance, error: error.into() }
                } else {
                    error
                });
            }
        }
    }
    Ok(reports)
}

/// When the kernel refuses our programs, what it lacks says more than its refusal.
fn named(error: Error) -> Error {
    if error.exit() != Exit::Unsupported || matches!(error, Error::Faults(_)) {
        return error;
    }
    let features = bpf::features();
    let lacking = features.iter().filter(|feature| feature.there == Ok(false));
    let faults = lacking.map(|feature| Fault::Unsupported {
        feature: feature.name.to_owned(),
        since: feature.since.to_owned(),
    });
    let faults: Vec<_> = faults.collect();
    if faults.is_empty() { error } else { Error::Faults(faults) }
}
