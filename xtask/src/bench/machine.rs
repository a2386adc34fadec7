//! The kind of machine that was measured.

use std::collections::BTreeSet;
use std::fmt;
use std::fs;
use std::process::Command;
use std::thread;

use serde::Serialize;

use crate::shell;

/// What a reader of numbers should know of where they come from.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Machine {
    kernel: String,
    cpu: String,
    cores: usize,
    memory_mib: u64,
    virtual_machine: bool,
    /// The state of the repository.
    revision: String,
}

impl Machine {
    /// Looks around; what is not to be found is called unknown.
    pub(crate) fn look() -> Self {
        let cpus = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let memory = fs::read_to_string("/proc/meminfo").unwrap_or_default();
        let memory = field(&memory, "MemTotal").and_then(|kib| kib.split(' ').next()?.parse().ok());
        let flags: BTreeSet<&str> = field(&cpus, "flags").unwrap_or_default().split(' ').collect();
        let mut git = Command::new("git");
        git.current_dir(shell::root()).args(["describe", "--always", "--dirty"]);
        Self {
            kernel: trimmed(fs::read_to_string("/proc/sys/kernel/osrelease").ok()),
            cpu: field(&cpus, "model name").unwrap_or("unknown").to_owned(),
            cores: thread::available_parallelism().map_or(1, usize::from),
            memory_mib: memory.map_or(0, |kib: u64| kib / 1024),
            virtual_machine: flags.contains("hypervisor"),
            revision: trimmed(shell::output(&mut git).ok()),
        }
    }
}

impl Machine {
    /// What of it makes numbers comparable.
    pub(crate) fn kind(&self) -> String {
        let place = if self.virtual_machine { ", virtual machine" } else { "" };
        let release = self.kernel.split('-').next().unwrap_or_default();
        format!("Linux {release}, {} x {}{place}", self.cores, self.cpu)
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kernel, cpu, cores, memory_mib, .. } = self;
        let place = if self.virtual_machine { ", virtual machine" } else { "" };
        write!(f, "Linux {kernel}, {cores} x {cpu}, {memory_mib} MiB{place}")?;
        write!(f, ", vnet {}", self.revision)
    }
}

fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let mut fields = text.lines().filter_map(|line| line.split_once(':'));
    fields.find(|(key, _)| key.trim() == name).map(|(_, value)| value.trim())
}

fn trimmed(text: Option<String>) -> String {
    text.map_or_else(|| "unknown".to_owned(), |text| text.trim().to_owned())
}
