//! Names of pins, and the directories they live in.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use super::error::Error;
use crate::spec::{Call, Hook, Instance, link_pin, read_link_pin};

/// Where bpffs is.
pub const ROOT: &str = "/sys/fs/bpf";
/// Where all instances are.
pub const HOME: &str = "/sys/fs/bpf/vnet";

/// Every map of the object that is shared and pinned.
pub(super) const MAPS: [&str; 41] = [
    "config",
    "links",
    "outsides",
    "sources",
    "exclusions",
    "prefixes6",
    "uplinks6",
    "own6",
    "addresses6",
    "handles6",
    "spare6",
    "fresh6",
    "fragments6",
    "strays6",
    "forwards",
    "forwarded",
    "rules",
    "home",
    "asked",
    "flows4",
    "mappings",
    "hosts",
    "peers",
    "owners",
    "pools",
    "tickets",
    "embryonic",
    "counters",
    "sysctls",
    "clock",
    "desk",
    "answers",
    "syns",
    "fragments",
    "strays",
    "serial",
    "events",
    "exits",
    "hops",
    "paths",
    "AYA_LOGS",
];

/// Names of all instances that have a directory.
///
/// # Errors
/// When the directory cannot be read.
pub fn instances() -> Result<Vec<Instance>, Error> {
    let home = Path::new(HOME);
    let entries = match fs::read_dir(home) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(Error::file("read directory", home, error)),
    };
    let names = entries.flatten().filter(|entry| entry.path().is_dir());
    let names = names.filter_map(|entry| Instance::parse(entry.file_name().to_str()?).ok());
    let mut names: Vec<_> = names.collect();
    names.sort();
    Ok(names)
}

/// The directory of one instance.
#[derive(Clone, Debug)]
pub struct Pins {
    dir: PathBuf,
}

impl Pins {
    /// The directory of that instance, whether it is there or not.
    #[must_use]
    pub fn of(instance: &Instance) -> Self {
        Self::at(Path::new(HOME).join(instance.as_str()))
    }

    /// Any directory on a bpffs.
    #[must_use]
    pub const fn at(dir: PathBuf) -> Self {
        Self { dir }
    }

    /// Where it is.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Pin of a map.
    #[must_use]
    pub fn map(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// Pin of a program.
    #[must_use]
    pub fn program(&self, hook: Hook) -> PathBuf {
        self.dir.join(format!("prog_{hook}"))
    }

    /// Where a new program is pinned before it takes the place of the former one. (bpffs keeps
    /// names with dots to itself.)
    pub(super) fn new_program(&self, hook: Hook) -> PathBuf {
        self.dir.join(format!("new_{hook}"))
    }

    /// Pin of the program for a call.
    #[must_use]
    pub fn call_program(&self, call: Call) -> PathBuf {
        self.dir.join(format!("prog_{call}"))
    }

    /// Where a new one is pinned before it takes the place of the former one.
    pub(super) fn new_call_program(&self, call: Call) -> PathBuf {
        self.dir.join(format!("new_{call}"))
    }

    /// Pin of the link that keeps a program on a call.
    #[must_use]
    pub fn call(&self, call: Call) -> PathBuf {
        self.dir.join(call.pin())
    }

    /// Where a new one is pinned before it takes the place of the former one.
    pub(super) fn new_call(&self, call: Call) -> PathBuf {
        self.dir.join(format!("new_{}", call.pin()))
    }

    /// Pin of a TCX or XDP link.
    #[must_use]
    pub fn link(&self, ifindex: u32, hook: Hook) -> PathBuf {
        self.dir.join(link_pin(ifindex, hook))
    }

    /// Every hook that has a pinned link.
    ///
    /// # Errors
    /// When the directory cannot be read.
    pub fn links(&self) -> Result<Vec<(u32, Hook)>, Error> {
        Ok(self.names()?.iter().filter_map(|name| read_link_pin(name)).collect())
    }

    /// Makes the directory.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn make(&self) -> Result<(), Error> {
        let made = DirBuilder::new().mode(0o700).create(&self.dir);
        made.map_err(|error| Error::file("make directory", &self.dir, error))
    }

    /// Removes the pins of all maps, `config` first: without it the rest counts as half-made.
    ///
    /// # Errors
    /// When one cannot be removed.
    pub fn remove_maps(&self) -> Result<(), Error> {
        remove(&self.map("config"))?;
        for name in self.names()?.iter().filter(|name| read_link_pin(name).is_none()) {
            remove(&self.dir.join(name))?;
        }
        Ok(())
    }

    /// Removes the pins of the programs.
    ///
    /// # Errors
    /// When one cannot be removed.
    pub fn remove_programs(&self) -> Result<(), Error> {
        for hook in Hook::ALL {
            remove(&self.program(hook))?;
            remove(&self.new_program(hook))?;
        }
        for call in Call::ALL {
            remove(&self.call_program(call))?;
            remove(&self.new_call_program(call))?;
        }
        Ok(())
    }

    /// Removes the directory.
    ///
    /// # Errors
    /// When something is left in it.
    pub fn remove_dir(&self) -> Result<(), Error> {
        match fs::remove_dir(&self.dir) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(Error::file("remove directory", &self.dir, error))
            }
            Ok(()) | Err(_) => Ok(()),
        }
    }

    fn names(&self) -> Result<Vec<String>, Error> {
        let entries = match fs::read_dir(&self.dir) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(Error::file("read directory", &self.dir, error)),
        };
        Ok(entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()).collect())
    }
}

/// Removes a pin; one that is gone is fine.
pub(super) fn remove(path: &Path) -> Result<(), Error> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(Error::file("remove pin", path, error))
        }
        Ok(()) | Err(_) => Ok(()),
    }
}
