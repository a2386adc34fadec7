//! How a command fails.

use std::io;

use thiserror::Error;

use crate::exit::Exit;
use crate::fault::Fault;
use crate::{bpf, netlink};

/// Why a command did not do what it was to do.
#[derive(Debug, Error)]
pub enum Error {
    /// The wish cannot be: every reason.
    #[error("{}", .0.first().map(ToString::to_string).unwrap_or_default())]
    Faults(Vec<Fault>),
    /// eBPF.
    #[error(transparent)]
    Bpf(#[from] bpf::Error),
    /// Netlink.
    #[error(transparent)]
    Netlink(#[from] netlink::Error),
    /// Something of `/proc`, or output.
    #[error("cannot {doing}: {source}")]
    Io {
        /// What was tried.
        doing: String,
        /// Why not.
        source: io::Error,
    },
    /// A step failed, and taking back the ones before failed too.
    #[error("{first}")]
    Stuck {
        /// The failure that began it.
        first: Box<Error>,
        /// What could not be taken back.
        then: Vec<String>,
    },
    /// One of several instances could not be attached.
    #[error("instance '{instance}': {error}")]
    Of {
        /// Its name.
        instance: String,
        /// Why not.
        error: Box<Error>,
    },
    /// After all steps there was still something to do.
    #[error("the kernel does not show what was done; still to do: {0}")]
    Unsettled(String),
}

impl Error {
    /// The exit code: that of the first fault.
    #[must_use]
    pub fn exit(&self) -> Exit {
        match self {
            Self::Faults(faults) => faults.first().map_or(Exit::Unexpected, Fault::exit),
            Self::Bpf(error) => error.exit(),
            Self::Stuck { first: error, .. } | Self::Of { error, .. } => error.exit(),
            Self::Io { source, .. } if source.kind() == io::ErrorKind::PermissionDenied => {
                Exit::Permission
            }
            Self::Netlink(_) | Self::Io { .. } | Self::Unsettled(_) => Exit::Unexpected,
        }
    }

    /// Everything there is to say, a sentence each.
    #[must_use]
    pub fn sentences(&self) -> Vec<String> {
        match self {
            Self::Faults(faults) => faults.iter().map(ToString::to_string).collect(),
            Self::Stuck { first, then } => {
                let stuck = then.iter().map(|what| format!("could not be taken back: {what}"));
                first.sentences().into_iter().chain(stuck).collect()
            }
            Self::Of { instance, error } => {
                let named = |said| format!("instance '{instance}': {said}");
                error.sentences().into_iter().map(named).collect()
            }
            Self::Bpf(_) | Self::Netlink(_) | Self::Io { .. } | Self::Unsettled(_) => {
                vec![self.to_string()]
            }
        }
    }

    /// The same failure, and what could not be taken back after it.
    pub(super) fn stuck(self, more: Vec<String>) -> Self {
        if more.is_empty() {
            return self;
        }
        let (first, mut then) = if let Self::Stuck { first, then } = self {
            (first, then)
        } else {
            (self.into(), vec![])
        };
        then.extend(more);
        Self::Stuck { first, then }
    }

    /// A failed look at, or change of, something of `/proc`.
    pub(crate) fn io(doing: impl Into<String>, source: io::Error) -> Self {
        Self::Io { doing: doing.into(), source }
    }
}

impl From<io::Error> for Error {
    fn from(source: io::Error) -> Self {
        Self::io("enter the network namespace of the sorter", source)
    }
}

impl From<Fault> for Error {
    fn from(fault: Fault) -> Self {
        Self::Faults(vec![fault])
    }
}
