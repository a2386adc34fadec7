//! One change at a time: a lock on the directory of all instances.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::FlockOperation;
use rustix::io::Errno;

use super::error::Error;
use super::pins::HOME;

const WAIT: Duration = Duration::from_secs(30);
/// How long a change is waited for by somebody who only looks.
const PATIENCE: Duration = Duration::from_secs(2);
const PAUSE: Duration = Duration::from_millis(20);

/// The lock; it ends with the value, and an empty directory goes with it.
#[derive(Debug)]
pub struct Lock {
    _dir: File,
}

impl Lock {
    /// Makes the directory if need be and takes the lock, waiting up to 30 s for it.
    ///
    /// # Errors
    /// When somebody else keeps it, or the directory cannot be made.
    pub fn take() -> Result<Self, Error> {
        let path = Path::new(HOME);
        let end = Instant::now() + WAIT;
        loop {
            make(path)?;
            if let Some(dir) = try_lock(path, FlockOperation::NonBlockingLockExclusive)? {
                return Ok(Self { _dir: dir });
            }
            if Instant::now() >= end {
                let seconds = WAIT.as_secs();
                return Err(Error::Locked { path: path.to_owned(), seconds });
            }
            thread::sleep(PAUSE);
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Refused while an instance is in it, which is what is wanted.
        let _ = fs::remove_dir(HOME);
    }
}

/// Keeps changes away while things are looked at, so that nobody sees an instance half made.
#[derive(Debug)]
pub struct Calm {
    _dir: Option<File>,
}

impl Calm {
    /// Waits for the end of a change. One that takes long is not waited for: looking must always
    /// be possible.
    ///
    /// # Errors
    /// When the directory cannot be opened.
    pub fn wait() -> Result<Self, Error> {
        let path = Path::new(HOME);
        let end = Instant::now() + PATIENCE;
        while path.exists() && Instant::now() < end {
            if let Some(dir) = try_lock(path, FlockOperation::NonBlockingLockShared)? {
                return Ok(Self { _dir: Some(dir) });
            }
            thread::sleep(PAUSE);
        }
        Ok(Self { _dir: None })
    }
}

fn make(path: &Path) -> Result<(), Error> {
    match DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            Err(Error::file("make directory", path, error))
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

/// The locked directory, or `None` when it is held or was replaced meanwhile.
fn try_lock(path: &Path, how: FlockOperation) -> Result<Option<File>, Error> {
    let dir = match File::open(path) {
        Ok(dir) => dir,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Error::file("open", path, error)),
    };
    match rustix::fs::flock(&dir, how) {
        Ok(()) => Ok(is_still(&dir, path).then_some(dir)),
        Err(Errno::WOULDBLOCK) => Ok(None),
        Err(error) => Err(Error::file("lock", path, error.into())),
    }
}

/// Whether the path still leads to the locked directory: its last holder may have removed it.
fn is_still(dir: &File, path: &Path) -> bool {
    match (dir.metadata(), fs::metadata(path)) {
        (Ok(held), Ok(named)) => held.ino() == named.ino(),
        (Ok(_) | Err(_), _) => false,
    }
}
