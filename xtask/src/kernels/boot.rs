//! Starting a guest under QEMU and listening to it until it ends or its time is up.

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::tools;
use crate::shell;

/// How long a guest may take, from power-on to power-off: all stories take an emulated one an hour.
pub(super) const LIMIT: Duration = Duration::from_secs(5400);

/// The first QEMU seen to run guests with two emulated processors soundly.
const SOUND: u32 = 10;

const COMMAND_LINE: &str = "console=ttyS0 panic=-1 loglevel=4 mitigations=off nokaslr \
                            no_timer_check random.trust_cpu=on rdinit=/init";

/// What guests run on.
pub(super) struct Machine {
    qemu: PathBuf,
    /// QEMU's major version.
    major: u32,
    kvm: bool,
}

/// A guest's whole life.
pub(super) struct Run {
    pub(super) lines: Vec<String>,
    pub(super) seconds: f64,
    pub(super) timed_out: bool,
}

impl Machine {
    /// Looks at QEMU and the processor.
    pub(super) fn detect() -> Result<Self> {
        let qemu = shell::program(tools::QEMU)
            .with_context(|| format!("{} is missing; install qemu-system-x86", tools::QEMU))?;
        let told = shell::output(Command::new(&qemu).arg("--version"))?;
        let major = major(&told).with_context(|| format!("QEMU told no version: {told}"))?;
        let info = std::fs::read_to_string("/proc/cpuinfo").context("cannot read /proc/cpuinfo")?;
        // /dev/kvm opens on some machines whose processor cannot run a guest.
        let kvm = virtualises(&info) && Path::new("/dev/kvm").exists();
        Ok(Self { qemu, major, kvm })
    }

    /// How many processors a guest gets. QEMU 7.2's emulation was seen to corrupt the memory of
    /// Linux 6.12 with two of them (4 boots of 37).
    pub(super) fn processors(&self) -> u32 {
        if self.kvm || self.major >= SOUND { 2 } else { 1 }
    }

    /// One line for the reader.
    pub(super) fn describe(&self) -> String {
        let how = if self.kvm { "with KVM" } else { "emulating (no KVM on this processor)" };
        let processors = match self.processors() {
            1 => "one processor each, because this QEMU corrupts guests with more",
            _ => "two processors each",
        };
        format!("Guests run under QEMU {} {how}, {processors}", self.major)
    }

    /// Boots `kernel` with `image`; `on_line` sees each console line as it comes.
    pub(super) fn boot(&self, kernel: &Path, image: &Path, on_line: impl Fn(&str)) -> Result<Run> {
        let begun = Instant::now();
        let mut guest = self
            .command(kernel, image)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .context("cannot start QEMU")?;
        let (sender, lines_in) = channel();
        listen(guest.stdout.take(), sender.clone());
        listen(guest.stderr.take(), sender);
        let mut lines = Vec::new();
        let timed_out = loop {
            match lines_in.recv_timeout(LIMIT.saturating_sub(begun.elapsed())) {
                Ok(line) => {
                    on_line(&line);
                    lines.push(line);
                }
                Err(RecvTimeoutError::Disconnected) => break false,
                Err(RecvTimeoutError::Timeout) => break true,
            }
        };
        if timed_out {
            guest.kill().context("cannot stop a guest whose time is up")?;
        }
        guest.wait().context("cannot wait for QEMU")?;
        Ok(Run { lines, seconds: begun.elapsed().as_secs_f64(), timed_out })
    }

    fn command(&self, kernel: &Path, image: &Path) -> Command {
        let mut command = Command::new(&self.qemu);
        command
            .args("-nodefaults -no-user-config -display none -no-reboot -serial stdio".split(' '));
        command.args(["-m", "1G", "-machine", "q35", "-smp", &self.processors().to_string()]);
        let accelerator = if self.kvm { "kvm" } else { "tcg,thread=multi" };
        command.args(["-accel", accelerator, "-cpu", "max"]);
        command.arg("-kernel").arg(kernel).arg("-initrd").arg(image);
        command.args(["-append", COMMAND_LINE]);
        command
    }
}

/// Sends every line of `stream`, whatever its bytes.
fn listen(stream: Option<impl Read + Send + 'static>, sender: Sender<String>) {
    let Some(stream) = stream else { return };
    thread::spawn(move || {
        for line in BufReader::new(stream).split(b'\n').map_while(|line| line.ok()) {
            let line = String::from_utf8_lossy(&line).trim_end_matches('\r').to_owned();
            if sender.send(line).is_err() {
                return;
            }
        }
    });
}

/// The major number in "QEMU emulator version 10.0.2 (Debian 1:10.0.2)".
fn major(told: &str) -> Option<u32> {
    told.split("version ").nth(1)?.split('.').next()?.parse().ok()
}

/// Whether the processor's flags name hardware virtualisation.
fn virtualises(cpuinfo: &str) -> bool {
    let flags = cpuinfo.lines().filter(|line| line.starts_with("flags"));
    flags.flat_map(str::split_whitespace).any(|flag| flag == "vmx" || flag == "svm")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kvm_is_for_processors_that_have_it() {
        assert!(virtualises("model name : x\nflags\t\t: fpu vmx sse\n"));
        assert!(!virtualises("vmx flags : none\nflags\t\t: fpu vmx_not sse\n"));
    }

    #[test]
    fn qemu_before_ten_gets_one_processor() {
        let told = "QEMU emulator version 7.2.22 (Debian 1:7.2+dfsg-7+deb12u18)\nCopyright";
        assert_eq!(major(told), Some(7));
        let machine = |major, kvm| Machine { qemu: PathBuf::new(), major, kvm };
        assert_eq!(machine(7, false).processors(), 1);
        assert_eq!(machine(7, true).processors(), 2);
        assert_eq!(machine(10, false).processors(), 2);
    }
}
