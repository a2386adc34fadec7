//! Finds what can build the eBPF object. It only looks: nothing is installed and nothing is run.
//!
//! There are two ways, and either will do:
//! - Debian's `rustc-web` with `libstd-rust-web-dev-bpf`, which brings a prebuilt `core` for BPF;
//! - a rustup nightly with the component `rust-src`, which builds `core` itself.
//!
//! Both need `bpf-linker`, linked to an LLVM at least as new as the compiler's. The build script of
//! vnet-ctl includes this file by path, so it uses the standard library only.

use std::env;
use std::ffi::OsString;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The target every eBPF program is compiled for (little-endian hosts only).
pub(crate) const TARGET: &str = "bpfel-unknown-none";
/// Set this variable to `debian` or `nightly` to insist on one way.
pub(crate) const FORCE: &str = "VNET_BPF_TOOLCHAIN";

/// The LLVM release inside Debian's `rustc-web` 1.96.
pub(crate) const DEBIAN_LLVM: u32 = 22;
/// Debian's package puts its compiler and its sysroot here, whatever PATH says.
const DEBIAN_RUSTC: &str = "/usr/bin/rustc";
const DEBIAN_CORE: &str = "/usr/lib/rustlib/bpfel-unknown-none/lib";

/// Which of the two ways a compiler belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// Debian's compiler with a prebuilt `core`.
    Debian,
    /// A rustup nightly that builds `core` from `rust-src`.
    Nightly,
}

/// A Rust compiler that can emit BPF.
#[derive(Clone, Debug)]
pub(crate) struct Compiler {
    /// How it comes by its `core`.
    pub(crate) way: Way,
    /// The compiler itself, by absolute path.
    pub(crate) rustc: PathBuf,
    /// Its LLVM release; the linker's must not be older.
    pub(crate) llvm: u32,
}

/// An installed `bpf-linker`.
#[derive(Clone, Debug)]
pub(crate) struct Linker {
    /// The program, by absolute path.
    pub(crate) path: PathBuf,
    /// Its LLVM release, where cargo's record of the installation tells it.
    pub(crate) llvm: Option<u32>,
}

/// A compiler and a linker that fit each other.
#[derive(Clone, Debug)]
pub(crate) struct Toolchain {
    /// The compiler.
    pub(crate) compiler: Compiler,
    /// The linker.
    pub(crate) linker: Linker,
}

/// Why no toolchain was found, as one sentence.
#[derive(Debug)]
pub(crate) struct Missing(String);

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for Compiler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.way {
            Way::Debian => "Debian's compiler",
            Way::Nightly => "the rustup nightly",
        };
        write!(f, "{kind} {} (LLVM {})", self.rustc.display(), self.llvm)
    }
}

/// The toolchain a build will use: the first compiler whose LLVM the installed linker can read.
pub(crate) fn find() -> Result<Toolchain, Missing> {
    let compilers = compilers()?;
    let Some(newest) = compilers.first() else {
        let asked = env::var(FORCE).map_or(String::new(), |way| format!(" ({FORCE} is `{way}`)"));
        return Err(Missing(format!(
            "no Rust compiler here has a `core` for BPF: neither Debian's packages rustc-web and \
             libstd-rust-web-dev-bpf nor a rustup nightly with rust-src is usable{asked}"
        )));
    };
    let Some(linker) = linker() else {
        return Err(Missing("the program bpf-linker is not installed".into()));
    };
    let fits = |c: &&Compiler| linker.llvm.is_none_or(|llvm| llvm >= c.llvm);
    match compilers.iter().find(fits) {
        Some(compiler) => Ok(Toolchain { compiler: compiler.clone(), linker }),
        None => Err(Missing(format!(
            "the installed bpf-linker is older (LLVM {}) than {newest}",
            linker.llvm.unwrap_or_default()
        ))),
    }
}

/// Every usable compiler on this machine, the preferred one first.
pub(crate) fn compilers() -> Result<Vec<Compiler>, Missing> {
    match env::var(FORCE).as_deref() {
        Ok("debian") => Ok(debian().into_iter().collect()),
        Ok("nightly") => Ok(nightlies()),
        Ok("") | Err(_) => Ok(nightlies().into_iter().chain(debian()).collect()),
        Ok(other) => {
            Err(Missing(format!("{FORCE} is `{other}`, but only `debian` or `nightly` is known")))
        }
    }
}

fn debian() -> Option<Compiler> {
    let rustc = PathBuf::from(DEBIAN_RUSTC);
    (rustc.exists() && Path::new(DEBIAN_CORE).exists()).then_some(Compiler {
        way: Way::Debian,
        rustc,
        llvm: DEBIAN_LLVM,
    })
}

fn nightlies() -> Vec<Compiler> {
    let Some(home) = home("RUSTUP_HOME", ".rustup") else { return Vec::new() };
    let mut roots = entries(&home.join("toolchains"));
    roots.retain(|root| {
        let nightly = root.file_name().is_some_and(|n| n.to_string_lossy().starts_with("nightly"));
        nightly && root.join("lib/rustlib/src/rust/library/core").exists()
    });
    // Plain `nightly-<host>` sorts after every dated one, and is the one rustup keeps up to date.
    roots.sort();
    roots.into_iter().rev().filter_map(|root| nightly(&root)).collect()
}

fn nightly(root: &Path) -> Option<Compiler> {
    let llvm = entries(&root.join("lib")).into_iter().find_map(|file| {
        number_after(&file.file_name()?.to_string_lossy(), "libLLVM.so.")
            .or_else(|| number_after(&file.file_name()?.to_string_lossy(), "libLLVM-"))
    })?;
    Some(Compiler { way: Way::Nightly, rustc: root.join("bin/rustc"), llvm })
}

/// The `bpf-linker` that cargo installed, else the first one in PATH.
pub(crate) fn linker() -> Option<Linker> {
    let cargo_home = home("CARGO_HOME", ".cargo");
    if let Some(home) = cargo_home {
        let path = home.join("bin/bpf-linker");
        if path.exists() {
            let record = fs::read_to_string(home.join(".crates2.json")).unwrap_or_default();
            let ours = record.split_once("\"bpf-linker ").map_or("", |(_, rest)| rest);
            return Some(Linker { path, llvm: number_after(ours, "\"features\":[\"llvm-") });
        }
    }
    let path = env::split_paths(&env::var_os("PATH")?)
        .map(|dir| dir.join("bpf-linker"))
        .find(|path| path.is_file())?;
    Some(Linker { path, llvm: None })
}

impl Toolchain {
    /// `cargo VERB` for the package vnet-ebpf in release mode, writing below `target_dir`.
    /// `arch` is the machine the object will run on, as Rust spells it (`x86_64`).
    pub(crate) fn cargo(&self, verb: &str, root: &Path, target_dir: &Path, arch: &str) -> Command {
        let bundled = self.compiler.rustc.with_file_name("cargo");
        let mut command = match self.compiler.way {
            Way::Nightly => Command::new(bundled),
            Way::Debian => Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into())),
        };
        forget_outer_cargo(&mut command);
        command.current_dir(root).arg(verb);
        command.args(["--package", "vnet-ebpf", "--release", "--locked", "--target", TARGET]);
        command.arg("--target-dir").arg(target_dir);
        command.env("RUSTC", &self.compiler.rustc);
        // Empty means none, and overrules a wrapper named in the user's own cargo configuration.
        command.env("RUSTC_WRAPPER", "").env("RUSTC_WORKSPACE_WRAPPER", "");
        command.env("CARGO_ENCODED_RUSTFLAGS", self.rustflags(arch));
        command.env("CARGO_PROFILE_RELEASE_DEBUG", "2"); // BTF is made from it
        match self.compiler.way {
            Way::Debian => command.env("RUSTC_BOOTSTRAP", "1"),
            Way::Nightly => command.args(["-Z", "build-std=core"]),
        };
        command
    }

    fn rustflags(&self, arch: &str) -> OsString {
        let mut flags = OsString::from("-Clinker=");
        flags.push(&self.linker.path);
        flags.push("\u{1f}-Clink-arg=--btf");
        // v3 has 32-bit registers and the atomics that return a value; kernel 5.12 and later.
        flags.push("\u{1f}-Ctarget-cpu=v3");
        flags.push(format!("\u{1f}--cfg=bpf_target_arch=\"{arch}\""));
        flags
    }
}

/// Removes what an outer cargo, clippy, rustup or editor put into the environment for the host's
/// sake: flags, wrappers and directories that would break or disturb a build for another target.
fn forget_outer_cargo(command: &mut Command) {
    const KEEP: [&str; 6] = [
        "CARGO_HOME",
        "CARGO_NET_",
        "CARGO_HTTP_",
        "CARGO_REGISTR",
        "CARGO_SOURCE_",
        "CARGO_TERM_",
    ];
    const FORGET: [&str; 9] = [
        "CARGO",
        "__CARGO",
        "CLIPPY",
        "MAKEFLAGS",
        "MFLAGS",
        "RUSTC",
        "RUSTDOC",
        "RUSTFLAGS",
        "RUSTUP_TOOLCHAIN",
    ];
    for (name, _) in env::vars_os() {
        let text = name.to_string_lossy();
        let starts = |prefixes: &[&str]| prefixes.iter().any(|p| text.starts_with(p));
        if starts(&FORGET) && !starts(&KEEP) {
            command.env_remove(&name);
        }
    }
}

fn home(variable: &str, below_home: &str) -> Option<PathBuf> {
    let set = env::var_os(variable).filter(|value| !value.is_empty()).map(PathBuf::from);
    set.or_else(|| Some(PathBuf::from(env::var_os("HOME")?).join(below_home)))
}

fn entries(dir: &Path) -> Vec<PathBuf> {
    fs::read_dir(dir).map_or_else(|_| Vec::new(), |list| list.flatten().map(|e| e.path()).collect())
}

fn number_after(text: &str, prefix: &str) -> Option<u32> {
    let (_, rest) = text.split_once(prefix)?;
    let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    rest[..end].parse().ok()
}
