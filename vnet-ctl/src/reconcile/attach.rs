//! One wish carried out: an instance made, repaired, or changed in place.

use super::apply::{Done, Executor, Report};
use super::error::Error;
use super::observe::{Scope, Seen, observe};
use super::sorter;
use crate::bpf::{self, Pins};
use crate::fault::Fault;
use crate::netlink::Netlink;
use crate::plan::{self, Plan, World};
use crate::spec::Attach;
use crate::state::{self, Found, Host, Instance, Layout, Life};

/// Looks at what a wish is about. `tries`: also by putting programs on devices for a moment, where nothing
/// else tells whether they can be there.
pub(super) async fn look(netlink: &Netlink, wish: &Attach, tries: bool) -> Result<Seen, Error> {
    let mut seen = observe(netlink, Scope::Wish(wish)).await?;
    if wish.sort && state::sorter(&wish.instance, &seen.host).is_none() {
        seen.host.unsortable = sorter::impossible();
    }
    let links = state::links_wanted(wish, &seen.host);
    let untried = if tries { state::untried(wish, &seen.host, &links) } else { Vec::new() };
    for index in untried {
        if let Some(why) = bpf::why_no_xdp(index)? {
            seen.host.xdp_refused.insert(index, why);
        }
    }
    let led = living(wish, &seen)
        .is_some_and(|found| found.calls.is_none() && !found.forwarding.staying().is_empty());
    if led {
        seen.host.uncallable = bpf::why_no_calls(&Pins::of(&wish.instance));
    }
    Ok(seen)
}

/// Everything that speaks against the wish. What it wants is the answer, where that can be said.
pub(super) fn check(wish: &Attach, seen: &Seen) -> (Option<Instance>, Vec<Fault>) {
    let wanted = wanted(wish, &seen.host, living(wish, seen));
    let (wanted, mut faults) = match wanted {
        Ok(wanted) => (Some(wanted), Vec::new()),
        Err(faults) => (None, faults),
    };
    faults.extend(state::check(wish, &seen.host, &seen.instances, wanted.as_ref()));
    (wanted, faults)
}

/// What the wish wants, with the programs of this binary.
fn wanted(wish: &Attach, host: &Host, found: Option<&Instance>) -> Result<Instance, Vec<Fault>> {
    state::wanted(wish, host, found, bpf::build())
}

/// The instance to change in place, if there is a complete and living one. One of an older layout is taken
/// over.
fn living<'a>(wish: &Attach, seen: &'a Seen) -> Option<&'a Instance> {
    let found = match seen.instances.get(&wish.instance)? {
        Found::Whole(instance) => instance,
        Found::Other(instance, _) if instance.layout == Layout::Older => instance,
        Found::HalfMade(_) | Found::Other(..) => return None,
    };
    (found.life(&seen.host) == Life::Here).then_some(found)
}

/// What is there of the instance and cannot be used any more.
fn remains<'a>(wish: &Attach, seen: &'a Seen) -> Option<&'a Instance> {
    let found = seen.instances.get(&wish.instance)?;
    if living(wish, seen).is_some() { None } else { Some(found.instance()) }
}

/// Another living instance of this namespace, which needs the sysctls as they are.
pub(super) fn heir<'a>(found: &Instance, seen: &'a Seen) -> Option<&'a Instance> {
    seen.instances.iter().filter(|(name, _)| **name != found.name).find_map(
        |(_, other)| match other {
            Found::Whole(other) | Found::Other(other, _)
                if other.life(&seen.host) == Life::Here && other.runs(None) =>
            {
                Some(&**other)
            }
            Found::Whole(_) | Found::HalfMade(_) | Found::Other(..) => None,
        },
    )
}

/// Carries one wish out, under the lock.
pub(super) async fn carry_out<'a>(
    netlink: &'a Netlink,
    wish: &Attach,
    done: &mut Done<'a>,
) -> Result<Report, Error> {
    let mut report = Report { applied: true, ..Report::default() };
    let mut seen = look(netlink, wish, true).await?;
    let (_, faults) = check(wish, &seen);
    if !faults.is_empty() {
        return Err(Error::Faults(faults));
    }
    if let Some(remains) = remains(wish, &seen) {
        let plan = plan::remove(remains, &seen.host, heir(remains, &seen));
        done.run(Executor::new(netlink, &seen.host, &wish.instance), &plan).await?;
        report.add(plan);
        report.notes.push(format!("cleared what was left of instance '{}'", wish.instance));
        seen = look(netlink, wish, true).await?;
    }
    let mut plan = next(wish, &seen, &mut report)?;
    while !plan.steps.is_empty() {
        let executor = Executor::new(netlink, &seen.host, &wish.instance);
        done.run(executor, &plan).await?;
        report.add(plan);
        let before = state::hooked(wish, &seen.host);
        seen = look(netlink, wish, true).await?;
        plan = next(wish, &seen, &mut Report::default())?;
        let same = state::hooked(wish, &seen.host) == before;
        if let (Some(step), true) = (plan.steps.first(), same) {
            return Err(Error::Unsettled(step.step.to_string()));
        }
    }
    report.notes.extend(notes(wish, &seen.host));
    report.notes.extend(state::ipv6_notes(wish, &seen.host));
    Ok(report)
}

/// What the user should know about what is not done.
fn notes(wish: &Attach, host: &Host) -> Vec<String> {
    let left_out = state::left_out(wish, host).into_iter().chain(state::unsorted(wish, host));
    let xdp = state::xdp_notes(wish, host, &state::links_wanted(wish, host));
    left_out.chain(state::kept_off_anyway(wish, host)).chain(xdp).collect()
}

/// The plan from what is seen to what is wished; what it changes goes into the report.
fn next(wish: &Attach, seen: &Seen, report: &mut Report) -> Result<Plan, Error> {
    let found = living(wish, seen);
    let wanted = wanted(wish, &seen.host, found).map_err(Error::Faults)?;
    if let Some(found) = found {
        report.in_place = true;
        report.changes = state::changes(found, &wanted, &seen.host);
    }
    Ok(plan::build(&wanted, found, &seen.host))
}

/// What would be done, tried on a model where it cannot be tried on the kernel.
pub(super) fn foresee(wish: &Attach, seen: &Seen) -> Result<Report, Error> {
    let mut report = Report::default();
    if !bpf::is_mounted() {
        report.notes.push(format!("would mount bpffs on {}", bpf::ROOT));
    }
    let mut host: Host = seen.host.clone();
    if let Some(remains) = remains(wish, seen) {
        let plan = plan::remove(remains, &host, heir(remains, seen));
        let instance = Some(remains.clone());
        let mut world = World { host, name: wish.instance.clone(), instance };
        world.run(&plan);
        host = world.host;
        report.add(plan);
        let wanted = wanted(wish, &host, None).map_err(Error::Faults)?;
        report.add(plan::build(&wanted, None, &host));
    } else {
        let plan = next(wish, seen, &mut report)?;
        report.add(plan);
    }
    report.notes.extend(notes(wish, &seen.host));
    report.notes.extend(state::ipv6_notes(wish, &seen.host));
    Ok(report)
}

impl Report {
    pub(super) fn add(&mut self, plan: Plan) {
        self.steps.extend(plan.steps.into_iter().map(|planned| planned.step));
        self.warnings.extend(plan.warnings);
    }
}
