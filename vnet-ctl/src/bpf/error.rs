//! What can go wrong with eBPF, in sentences.

use std::io;
use std::path::{Path, PathBuf};

use aya::EbpfError;
use aya::maps::MapError;
use aya::programs::ProgramError;
use aya::sys::SyscallError;
use thiserror::Error;

use crate::exit::Exit;

/// Lines of the verifier's log that are worth an error message: the reason, and the sums.
const LAST_WORDS: usize = 4;

/// What went wrong.
#[derive(Debug, Error)]
pub enum Error {
    /// A file of bpffs.
    #[error("cannot {doing} {path}: {source}")]
    File {
        /// What was tried.
        doing: &'static str,
        /// Where.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// No memory for the maps.
    #[error(
        "not enough memory for map '{map}' of {max_flows} flows ({source}): attach with a smaller --max-flows"
    )]
    Memory {
        /// The map.
        map: String,
        /// How many flows it was to hold.
        max_flows: u32,
        /// What the kernel said.
        source: io::Error,
    },
    /// The object cannot be loaded.
    #[error("cannot load the eBPF object: {0}")]
    Object(Box<EbpfError>),
    /// The verifier or the kernel refused a program.
    #[error("the kernel refuses program {program}: {}", brief(source))]
    Program {
        /// The program.
        program: &'static str,
        /// Why.
        source: Box<ProgramError>,
    },
    /// The object lacks something.
    #[error("the eBPF object has no {0}: it does not belong to this vnetctl; build them together")]
    Missing(String),
    /// The object has a map too many.
    #[error("the eBPF object has a map '{0}' that this vnetctl does not know: build them together")]
    UnknownMap(String),
    /// A map of an older layout cannot be taken over.
    #[error(
        "map '{0}' was made by an older version of vnet with other records, which cannot be taken over: \
         detach the instance, then attach again"
    )]
    OtherRecords(String),
    /// The expiry timer did not start.
    #[error("the expiry clock does not start: {0}; the kernel needs bpf_timer (Linux 5.15)")]
    Clock(io::Error),
    /// An order to the datapath failed.
    #[error("the datapath does not carry out order {what}: {source}")]
    Order {
        /// Its number.
        what: u32,
        /// Why not.
        source: io::Error,
    },
    /// A map cannot be used.
    #[error("cannot {doing} map '{map}': {source}")]
    Map {
        /// What was tried.
        doing: &'static str,
        /// The map.
        map: String,
        /// Why not.
        source: Box<MapError>,
    },
    /// A program cannot be put on, taken off or looked at.
    #[error("cannot {doing}: {source}")]
    Hook {
        /// What was tried.
        doing: String,
        /// Why not.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Another vnetctl holds the lock.
    #[error(
        "another vnetctl has held the lock on {path} for {seconds} s: wait for it to end, or end it"
    )]
    Locked {
        /// The locked directory.
        path: PathBuf,
        /// How long was waited.
        seconds: u64,
    },
    /// Pins would not outlive this command.
    #[error(
        "{0} is not visible in this private mount namespace, and pins made here would vanish with it: \
         enter only the network namespace instead (nsenter --net=/run/netns/NAME vnetctl …)"
    )]
    PrivateMounts(&'static str),
}

impl Error {
    /// The exit code it leads to.
    #[must_use]
    pub fn exit(&self) -> Exit {
        if is_forbidden(self) {
            return Exit::Permission;
        }
        match self {
            Self::Memory { .. } => Exit::Memory,
            Self::Locked { .. } => Exit::Locked,
            Self::Clock(_) | Self::PrivateMounts(_) => Exit::Unsupported,
            Self::File { source, .. } if source.kind() == io::ErrorKind::PermissionDenied => {
                Exit::Permission
            }
            Self::OtherRecords(_) => Exit::Version,
            Self::Map { source, .. } if is_other_layout(source) => Exit::Version,
            Self::Program { .. } => Exit::Unsupported,
            Self::File { .. }
            | Self::Object(_)
            | Self::Missing(_)
            | Self::UnknownMap(_)
            | Self::Map { .. }
            | Self::Order { .. }
            | Self::Hook { .. } => Exit::Unexpected,
        }
    }

    /// A failed operation on a file of bpffs.
    pub(super) fn file(doing: &'static str, path: &Path, source: io::Error) -> Self {
        Self::File { doing, path: path.to_owned(), source }
    }

    /// A failed operation on a map.
    pub(super) fn map(doing: &'static str, map: &str, source: MapError) -> Self {
        Self::Map { doing, map: map.to_owned(), source: Box::new(source) }
    }

    /// A failed operation on a hook.
    pub(super) fn hook(
        doing: String,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        Self::Hook { doing, source: source.into() }
    }
}

/// Why a program is refused, without the pages that the verifier writes before it says so.
fn brief(error: &ProgramError) -> String {
    let ProgramError::LoadError { io_error, verifier_log } = error else {
        return error.to_string();
    };
    let log = verifier_log.to_string();
    let lines: Vec<_> = log.lines().filter(|line| !line.trim().is_empty()).collect();
    let last = lines[lines.len().saturating_sub(LAST_WORDS)..].join("; ");
    format!("{io_error}; the verifier ends with: {last} (all of it: VNET_LOG=debug)")
}

/// Whether the kernel said EPERM. (EACCES is what the verifier says of a program it refuses.)
fn is_forbidden(error: &(dyn std::error::Error + 'static)) -> bool {
    let here = error.downcast_ref::<io::Error>().and_then(io::Error::raw_os_error) == Some(1);
    here || error.source().is_some_and(is_forbidden)
}

/// Whether a map was made with other records than ours.
pub(super) const fn is_other_layout(error: &MapError) -> bool {
    matches!(
        error,
        MapError::InvalidKeySize { .. }
            | MapError::InvalidValueSize { .. }
            | MapError::InvalidMapType { .. }
    )
}

/// Whether a pin or an entry is not there.
pub(super) fn is_absent(error: &MapError) -> bool {
    let unknown = |error: &SyscallError| error.io_error.kind() == io::ErrorKind::NotFound;
    matches!(error, MapError::KeyNotFound)
        || matches!(error, MapError::SyscallError(error) if unknown(error))
}

#[cfg(test)]
mod tests {
    use aya_obj::VerifierLog;

    use super::*;

    #[test]
    fn what_the_kernel_forbids_is_told_from_what_the_verifier_refuses() {
        let program = |number| {
            let io_error = io::Error::from_raw_os_error(number);
            let call = SyscallError { call: "bpf_prog_load", io_error };
            let source = Box::new(ProgramError::SyscallError(call));
            Error::Program { program: "vnet_in", source }.exit()
        };
        assert_eq!(program(1), Exit::Permission);
        assert_eq!(program(13), Exit::Unsupported);
    }
    #[test]
    fn of_the_verifiers_pages_the_last_words_are_told() {
        let pages: String = (0..1000).map(|line| format!("{line}: (85) call\n")).collect();
        let verifier_log = VerifierLog::new(pages + "R1 invalid mem access\n\nprocessed 9 insns\n");
        let io_error = io::Error::from_raw_os_error(13);
        let told = brief(&ProgramError::LoadError { io_error, verifier_log });
        assert!(
            told.contains(
                "998: (85) call; 999: (85) call; R1 invalid mem access; processed 9 insns"
            ),
            "{told}"
        );
        assert!(!told.contains("997"), "{told}");
    }
}
