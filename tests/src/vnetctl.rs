//! Running the real `vnetctl` and reading what it said.

use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::patience;

/// The longest a command may take before it counts as hung.
const LIMIT: Duration = patience::seconds(60);

/// The binary under test: `$VNETCTL`, else the one built beside the tests.
///
/// # Panics
/// When there is none, saying how to build it.
pub fn program() -> PathBuf {
    if let Some(path) = std::env::var_os("VNETCTL") {
        let path = PathBuf::from(path);
        assert!(path.exists(), "$VNETCTL names {}, which does not exist", path.display());
        return path;
    }
    let test = std::env::current_exe().expect("a running test knows its own path");
    // target/<profile>/deps/<test>: the binary is one directory up.
    let path = test.ancestors().nth(2).map(|profile| profile.join("vnetctl"));
    path.filter(|path| path.exists()).unwrap_or_else(|| {
        panic!("vnetctl is not built: run `cargo xtask build`, or set $VNETCTL to its path")
    })
}

/// What a command that has ended left behind.
#[derive(Debug)]
pub struct Outcome {
    shown: String,
    /// How it ended.
    pub status: ExitStatus,
    /// What it said.
    pub stdout: String,
    /// What it complained about.
    pub stderr: String,
}

impl Outcome {
    /// Asserts success.
    ///
    /// # Panics
    /// With everything the command said.
    #[track_caller]
    pub fn ok(self) -> Self {
        assert!(self.status.success(), "should succeed: {self}");
        self
    }

    /// Asserts that it ended with this exit code.
    ///
    /// # Panics
    /// With everything the command said.
    #[track_caller]
    pub fn fails(self, code: i32) -> Self {
        assert_eq!(self.status.code(), Some(code), "should fail with code {code}: {self}");
        self
    }

    /// Asserts that stderr contains these words.
    ///
    /// # Panics
    /// With everything the command said.
    #[track_caller]
    pub fn complains(self, words: &str) -> Self {
        assert!(self.stderr.contains(words), "stderr should say `{words}`: {self}");
        self
    }

    /// Asserts that stdout contains these words.
    ///
    /// # Panics
    /// With everything the command said.
    #[track_caller]
    pub fn says(self, words: &str) -> Self {
        assert!(self.stdout.contains(words), "stdout should say `{words}`: {self}");
        self
    }

    /// Stdout as JSON.
    ///
    /// # Panics
    /// When it is not JSON.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|e| panic!("not JSON ({e}): {self}"))
    }
}

impl std::fmt::Display for Outcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "`{}` ended with {}\n--- stdout\n{}\n--- stderr\n{}",
            self.shown, self.status, self.stdout, self.stderr
        )
    }
}

/// Runs a command to its end.
///
/// # Panics
/// When it cannot be started, or has not ended after a minute.
#[must_use = "an outcome nobody looks at tests nothing: use ok() or fails()"]
pub fn run(mut command: Command) -> Outcome {
    let shown = show(&command);
    command.stdin(Stdio::null());
    let mut running = start(command);
    let (done, wait) = mpsc::channel();
    let stdout = running.child.stdout.take().map(|out| collect(out, done.clone()));
    let stderr = running.child.stderr.take().map(|err| collect(err, done));
    // Both readers hold a sender; the channel closes when both streams have ended.
    let ended = wait.recv_timeout(LIMIT);
    assert!(ended != Err(RecvTimeoutError::Timeout), "`{shown}` has not ended after {LIMIT:?}");
    let status = running.child.wait().expect("a child of ours can be waited for");
    let text = |reader: Option<thread::JoinHandle<String>>| {
        reader.map(|r| r.join().expect("a reader does not panic")).unwrap_or_default()
    };
    Outcome { shown, status, stdout: text(stdout), stderr: text(stderr) }
}

/// Starts a command that goes on; it is killed when the value is dropped.
///
/// # Panics
/// When it cannot be started.
pub fn start(mut command: Command) -> Running {
    let shown = show(&command);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = command.spawn().unwrap_or_else(|e| panic!("cannot run `{shown}`: {e}"));
    Running { child }
}

/// A process of the test's own.
#[derive(Debug)]
pub struct Running {
    /// The process, for its streams and its id.
    pub child: Child,
}

impl Running {
    /// The lines it prints from now on, as they come.
    ///
    /// # Panics
    /// When they are being read already.
    pub fn lines(&mut self) -> mpsc::Receiver<String> {
        let stdout = self.child.stdout.take().expect("its lines are read once");
        let (said, heard) = mpsc::channel();
        thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                // Nobody listens any more: the story has ended.
                if said.send(line).is_err() {
                    return;
                }
            }
        });
        heard
    }

    /// Asks it to end as Ctrl-C does, and waits.
    ///
    /// # Panics
    /// When it cannot be asked.
    pub fn interrupt(mut self) -> ExitStatus {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, Signal::INT).expect("a child of ours can be signalled");
        self.child.wait().expect("a child of ours can be waited for")
    }

    /// Ends it by force (SIGKILL), as a crash would.
    pub fn kill(mut self) {
        self.end();
    }

    fn end(&mut self) {
        // Both fail only for a process that is already gone, which is what is wanted.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.end();
    }
}

fn collect(
    mut from: impl std::io::Read + Send + 'static,
    done: mpsc::Sender<()>,
) -> thread::JoinHandle<String> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        // What was read before an error is still worth showing.
        let _ = from.read_to_end(&mut bytes);
        drop(done);
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

fn show(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(args: &[&str]) -> Outcome {
        let mut command = Command::new("ip");
        command.args(args);
        run(command)
    }

    #[test]
    fn what_a_command_said_is_kept() {
        ip(&["-V"]).ok().says("iproute2");
        ip(&["no-such-object"]).fails(1).complains("no-such-object");
        assert!(ip(&["-j", "link", "show", "lo"]).ok().json().is_array());
    }

    #[test]
    #[should_panic(expected = "should succeed")]
    fn a_failure_that_was_not_expected_fails_the_test() {
        ip(&["no-such-object"]).ok();
    }
}
