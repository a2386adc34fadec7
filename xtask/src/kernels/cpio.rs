//! The newc cpio archive the kernel unpacks as its first file system.
//!
//! Format: Linux `Documentation/driver-api/early-userspace/buffer-format.rst`. Pure: bytes in, bytes out.

use std::collections::BTreeSet;

const DIRECTORY: u32 = 0o040_000;
const REGULAR: u32 = 0o100_000;
const SYMLINK: u32 = 0o120_000;
const CHARACTER: u32 = 0o020_000;

/// An archive being written; paths are relative to the root and parents are made when needed.
#[derive(Default)]
pub(super) struct Archive {
    bytes: Vec<u8>,
    entries: u32,
    folders: BTreeSet<String>,
}

impl Archive {
    /// Adds a folder and its parents; one that is there already is left alone.
    pub(super) fn folder(&mut self, path: &str) {
        let path = path.trim_matches('/');
        if path.is_empty() || self.folders.contains(path) {
            return;
        }
        self.parents(path);
        self.entry(path, DIRECTORY | 0o755, (0, 0), &[]);
        self.folders.insert(path.to_owned());
    }

    /// Adds a file; `mode` is its permission bits.
    pub(super) fn file(&mut self, path: &str, mode: u32, content: &[u8]) {
        self.parents(path);
        self.entry(path, REGULAR | mode, (0, 0), content);
    }

    /// Adds a symbolic link.
    pub(super) fn link(&mut self, path: &str, target: &str) {
        self.parents(path);
        self.entry(path, SYMLINK | 0o777, (0, 0), target.as_bytes());
    }

    /// Adds a character device.
    pub(super) fn device(&mut self, path: &str, numbers: (u32, u32)) {
        self.parents(path);
        self.entry(path, CHARACTER | 0o600, numbers, &[]);
    }

    /// The finished archive.
    pub(super) fn finish(mut self) -> Vec<u8> {
        self.entry("TRAILER!!!", 0, (0, 0), &[]);
        self.bytes
    }

    fn parents(&mut self, path: &str) {
        if let Some((parent, _)) = path.trim_start_matches('/').rsplit_once('/') {
            self.folder(parent);
        }
    }

    fn entry(&mut self, path: &str, mode: u32, device: (u32, u32), content: &[u8]) {
        let path = path.trim_start_matches('/');
        self.entries += 1;
        let (major, minor) = device;
        // ino mode uid gid nlink mtime filesize devmajor devminor rdevmajor rdevminor namesize check
        let fields = [
            self.entries as usize,
            mode as usize,
            0,
            0,
            1,
            0,
            content.len(),
            0,
            0,
            major as usize,
            minor as usize,
            path.len() + 1,
            0,
        ];
        self.bytes.extend_from_slice(b"070701");
        for field in fields {
            self.bytes.extend_from_slice(format!("{field:08X}").as_bytes());
        }
        self.bytes.extend_from_slice(path.as_bytes());
        self.bytes.push(0);
        self.pad();
        self.bytes.extend_from_slice(content);
        self.pad();
    }

    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(bytes: &[u8]) -> Vec<String> {
        let field = |at: usize| {
            let text = std::str::from_utf8(&bytes[at..at + 8]).expect("hex is ASCII");
            usize::from_str_radix(text, 16).expect("eight hex digits")
        };
        let mut names = Vec::new();
        let mut at = 0;
        while at < bytes.len() {
            assert_eq!(&bytes[at..at + 6], b"070701");
            let (size, name) = (field(at + 6 + 6 * 8), field(at + 6 + 11 * 8));
            let text = &bytes[at + 110..at + 110 + name - 1];
            names.push(String::from_utf8(text.to_vec()).expect("names are text"));
            at = (at + 110 + name).next_multiple_of(4);
            at = (at + size).next_multiple_of(4);
        }
        names
    }

    #[test]
    fn parents_come_first_and_once() {
        let mut archive = Archive::default();
        archive.file("/usr/sbin/ip", 0o755, b"12345");
        archive.link("usr/sbin/tc", "ip");
        archive.device("dev/console", (5, 1));
        let bytes = archive.finish();
        let expected = ["usr", "usr/sbin", "usr/sbin/ip", "usr/sbin/tc", "dev", "dev/console"];
        assert_eq!(names(&bytes), [&expected[..], &["TRAILER!!!"]].concat());
        assert_eq!(bytes.len() % 4, 0);
    }

    #[test]
    fn header_is_the_documented_one() {
        let mut archive = Archive::default();
        archive.file("init", 0o755, b"hi");
        let header = b"070701000000010000\
            81ED00000000000000000000000100000000\
            00000002000000000000000000000000000000000000000500000000init\0";
        let bytes = archive.finish();
        assert_eq!(&bytes[..header.len()], header);
        assert_eq!(&bytes[header.len().next_multiple_of(4)..][..4], b"hi\0\0");
    }

    #[test]
    fn the_kernels_own_relative_reads_it() {
        use std::io::Write;
        use std::process::{Command, Stdio};
        let Ok(mut cpio) =
            Command::new("cpio").arg("-t").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()
        else {
            println!("SKIPPED the_kernels_own_relative_reads_it: no cpio program here");
            return;
        };
        let mut archive = Archive::default();
        archive.file("a/b", 0o644, b"x");
        let mut stdin = cpio.stdin.take().expect("piped");
        stdin.write_all(&archive.finish()).expect("cpio reads");
        drop(stdin);
        let listed = cpio.wait_with_output().expect("cpio ends");
        assert_eq!(String::from_utf8_lossy(&listed.stdout), "a\na/b\n");
    }
}
