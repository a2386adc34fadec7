//! Forwarding sysctls of the current network namespace.
//!
//! `/proc/sys/net` always shows the namespace of the task that opens it, whoever mounted it.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::state::{IP_FORWARD, IPV6_FORWARD, LIBERAL, conf_device};

/// A tree of sysctls.
#[derive(Clone, Debug)]
pub struct Sysctls {
    root: PathBuf,
}

impl Default for Sysctls {
    fn default() -> Self {
        Self::at(Path::new("/proc/sys"))
    }
}

impl Sysctls {
    /// The tree below `root`.
    #[must_use]
    pub fn at(root: &Path) -> Self {
        Self { root: root.to_owned() }
    }

    /// `net.ipv4.ip_forward` and every `net.ipv4.conf.DEVICE.forwarding`. The one of `all` is left
    /// out: it is `ip_forward` by another name. That of IPv6 is for looking at only. And, where there
    /// is connection tracking, whether it is liberal with TCP.
    ///
    /// # Errors
    /// When the tree cannot be read.
    pub fn forwarding(&self) -> io::Result<BTreeMap<String, i32>> {
        let mut found = BTreeMap::from([(IP_FORWARD.to_owned(), self.read(IP_FORWARD)?)]);
        // A kernel without IPv6 does not have it.
        found.extend(self.read(IPV6_FORWARD).ok().map(|value| (IPV6_FORWARD.to_owned(), value)));
        // Nor one without connection tracking this; where it cannot be set, it is as good as not there.
        let liberal = self.read(LIBERAL).ok().filter(|_| self.can_write(LIBERAL));
        found.extend(liberal.map(|value| (LIBERAL.to_owned(), value)));
        for entry in fs::read_dir(self.root.join("net/ipv4/conf"))? {
            let device = entry?.file_name().to_string_lossy().into_owned();
            let name = format!("net.ipv4.conf.{device}.forwarding");
            // A device may go away between the two looks.
            if let (true, Ok(value)) = (device != "all", self.read(&name)) {
                found.insert(name, value);
            }
        }
        Ok(found)
    }

    /// The value of a sysctl.
    ///
    /// # Errors
    /// When it is not there, or is no number.
    pub fn read(&self, name: &str) -> io::Result<i32> {
        let text = fs::read_to_string(self.path(name))?;
        text.trim().parse().map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
    }

    /// Whether a sysctl can be set from here: a container's may not.
    #[must_use]
    pub fn can_write(&self, name: &str) -> bool {
        fs::OpenOptions::new().write(true).open(self.path(name)).is_ok()
    }

    /// Sets a sysctl.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn write(&self, name: &str, value: i32) -> io::Result<()> {
        fs::write(self.path(name), format!("{value}\n"))
    }

    /// A dot in a device's name is part of one directory's name, not a separator.
    fn path(&self, name: &str) -> PathBuf {
        match conf_device(name) {
            Some(device) => self.root.join("net/ipv4/conf").join(device).join("forwarding"),
            None => self.root.join(name.replace('.', "/")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forwarding_is_read_and_written_also_with_dots_in_names() {
        let dir = tempfile::tempdir().unwrap();
        let net = dir.path().join("net/ipv4");
        for device in ["all", "default", "eth0.100"] {
            fs::create_dir_all(net.join("conf").join(device)).unwrap();
            fs::write(net.join("conf").join(device).join("forwarding"), "1\n").unwrap();
        }
        fs::write(net.join("ip_forward"), "0\n").unwrap();
        let sysctls = Sysctls::at(dir.path());
        sysctls.write("net.ipv4.conf.eth0.100.forwarding", 0).unwrap();
        let expected = [
            ("net.ipv4.conf.default.forwarding".to_owned(), 1),
            ("net.ipv4.conf.eth0.100.forwarding".to_owned(), 0),
            (IP_FORWARD.to_owned(), 0),
        ];
        assert_eq!(sysctls.forwarding().unwrap(), BTreeMap::from(expected));
    }
}
