//! What a NAT must do, requirement by requirement, and a probe for each.
//!
//! A [`Requirement`] is data: where it is written, how strongly, in one sentence, and the probe
//! that finds out. A probe builds a private network around a [`Translator`] and sends packets
//! through it; the same probe judges vnet and nftables masquerade. The tests of the `conformance`
//! binary run the probes on vnet, and `cargo xtask conformance` on both, for CONFORMANCE.md.
//!
//! Promise: a verdict is what was seen on the wire. A probe that cannot build its network panics;
//! it never calls that a failure of the translator.

pub mod field;
mod list;
mod probe;
pub mod table;
mod tcp;
pub mod translator;

use std::fmt;

pub use list::{all, named};
pub use translator::Translator;

/// How strongly something is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// MUST.
    Must,
    /// SHOULD, RECOMMENDED.
    Should,
    /// MAY.
    May,
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Must => "MUST",
            Self::Should => "SHOULD",
            Self::May => "MAY",
        })
    }
}

/// What a probe that does not see the requirement hold saw instead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Miss {
    /// Something else happened; a few words for the table.
    Fails(String),
    /// The translator has no such thing to ask for.
    NotOffered(String),
}

/// What a probe saw: the requirement held, or not.
pub type Seen = Result<(), Miss>;

/// One line of what a NAT must do.
#[derive(Clone, Copy, Debug)]
pub struct Requirement {
    /// Name of the test that shows it.
    pub test: &'static str,
    /// Where it is written.
    pub source: &'static str,
    /// How strongly it is asked for there.
    pub level: Level,
    /// What it says, in one sentence.
    pub says: &'static str,
    /// Why vnet does not hold it yet; None when it does.
    pub pending: Option<&'static str>,
    /// Finds out.
    pub probe: fn(Translator) -> Seen,
}

impl Requirement {
    const fn new(
        (level, source): (Level, &'static str),
        test: &'static str,
        says: &'static str,
        probe: fn(Translator) -> Seen,
    ) -> Self {
        Self { test, source, level, says, pending: None, probe }
    }

    /// Marks it as one that vnet does not hold yet.
    #[must_use]
    pub const fn pending(self, why: &'static str) -> Self {
        Self { pending: Some(why), ..self }
    }
}

/// The end of a probe that saw something else.
fn fails<T>(saw: impl Into<String>) -> Result<T, Miss> {
    Err(Miss::Fails(saw.into()))
}

/// Goes on only if `so`; `otherwise` is what was seen.
fn ensure(so: bool, otherwise: impl Into<String>) -> Seen {
    if so { Ok(()) } else { fails(otherwise) }
}
