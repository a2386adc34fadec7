//! The kernel's network configuration, by rtnetlink: the only place that names it.

mod change;
mod defrag;
mod features;
mod observe;
mod route;
mod sorter;

pub use defrag::join_fragments;

use rtnetlink::Handle;
use thiserror::Error;

/// What went wrong between the kernel and us.
#[derive(Debug, Error)]
pub enum Error {
    /// The socket could not be opened.
    #[error("cannot open a netlink socket: {0}")]
    Socket(#[from] std::io::Error),
    /// Nobody joins fragments here.
    #[error("the kernel does not join fragments: it needs nf_tables and nf_conntrack ({0})")]
    Defrag(std::io::Error),
    /// The kernel refused, or its answer made no sense.
    #[error("cannot {doing}: {source}")]
    Request {
        /// What was tried.
        doing: String,
        /// What came back.
        source: rtnetlink::Error,
    },
}

/// A connection to the network namespace this process is in.
pub struct Netlink {
    handle: Handle,
}

impl Netlink {
    /// Opens the connection; needs a running tokio runtime.
    ///
    /// # Errors
    /// When there is no socket to be had.
    pub fn open() -> Result<Self, Error> {
        let (connection, handle, _) = rtnetlink::new_connection()?;
        tokio::spawn(connection);
        Ok(Self { handle })
    }
}

/// Names what was tried.
trait Doing<T> {
    fn doing(self, what: impl FnOnce() -> String) -> Result<T, Error>;
}

impl<T> Doing<T> for Result<T, rtnetlink::Error> {
    fn doing(self, what: impl FnOnce() -> String) -> Result<T, Error> {
        self.map_err(|source| Error::Request { doing: what(), source })
    }
}

/// Whether the kernel said that the thing is not there.
fn is_absent(error: &rtnetlink::Error) -> bool {
    const ENOENT: i32 = 2;
    const ENODEV: i32 = 19;
    const EINVAL: i32 = 22;
    // A filter or qdisc below a qdisc that is gone is an invalid argument.
    let absent = [-ENOENT, -ENODEV, -EINVAL];
    matches!(error, rtnetlink::Error::NetlinkError(message)
        if absent.contains(&message.raw_code()))
}
