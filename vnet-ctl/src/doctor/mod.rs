//! `doctor`: whether this machine can do what vnet needs, and what stands in the way.
//!
//! Nothing is changed. Features are tried out, not guessed by the kernel's version.

mod conflict;
mod host;
mod kernel;

use serde::Serialize;

use crate::netlink::Netlink;
use crate::proc::privilege::Capabilities;
use crate::reconcile::{Error, Scope, observe};
use crate::{bpf, view};

/// How a check went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Nothing to do.
    Ok,
    /// vnet works, but perhaps not as expected.
    Warn,
    /// vnet does not work.
    Fail,
}

/// One check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Check {
    /// What was looked at.
    pub name: String,
    /// How it went.
    pub verdict: Verdict,
    /// What was found.
    pub found: String,
    /// What to do about it.
    pub advice: Option<String>,
}

impl Check {
    fn ok(name: impl Into<String>, found: impl Into<String>) -> Self {
        Self { name: name.into(), verdict: Verdict::Ok, found: found.into(), advice: None }
    }

    fn warn(name: impl Into<String>, found: impl Into<String>, advice: impl Into<String>) -> Self {
        let advice = Some(advice.into());
        Self { name: name.into(), verdict: Verdict::Warn, found: found.into(), advice }
    }

    fn fail(name: impl Into<String>, found: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { verdict: Verdict::Fail, ..Self::warn(name, found, advice) }
    }
}

/// Checks everything; without the capabilities to look further, only those.
///
/// # Errors
/// When the namespace cannot be looked at.
pub async fn examine() -> Result<Vec<Check>, Error> {
    if let Some(missing) = Capabilities::current().missing() {
        let advice = "run it as root (sudo vnetctl doctor); the other checks need that too";
        return Ok(vec![Check::fail("capabilities", format!("lacks {missing}"), advice)]);
    }
    let mut checks = vec![Check::ok("capabilities", "CAP_NET_ADMIN and CAP_SYS_ADMIN are there")];
    bpf::reach()?;
    checks.extend(kernel::checks());
    let netlink = Netlink::open()?;
    let seen = observe(&netlink, Scope::All).await?;
    checks.extend(host::checks(&seen.host));
    checks.extend(conflict::checks(&seen));
    for row in view::status(None).await? {
        let name = format!("instance {}", row.instance);
        checks.push(match row.problems.as_slice() {
            [] => Check::ok(name, "is well"),
            problems => Check::warn(name, problems.join("; "), "see vnetctl status"),
        });
    }
    Ok(checks)
}
