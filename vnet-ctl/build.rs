//! Builds the eBPF object and leaves it as `OUT_DIR/vnet.o`, for `vnet_ctl` to embed.
//!
//! A packager who already has the object names it in `VNET_EBPF_OBJECT`; then nothing is built.
//! When the toolchain is missing, the build ends with a sentence that says what to run.

#[path = "../xtask/src/toolchain.rs"]
mod toolchain;

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// The programs of vnet-ebpf; `vnet` becomes `OUT_DIR/vnet.o`.
const OBJECTS: [&str; 1] = ["vnet"];
const PREBUILT: &str = "VNET_EBPF_OBJECT";

/// What a change of means a new object, seen from the workspace's root.
const SOURCES: [&str; 6] = [
    "Cargo.toml",
    "Cargo.lock",
    "vnet-common/Cargo.toml",
    "vnet-common/src",
    "vnet-ebpf/Cargo.toml",
    "vnet-ebpf/src",
];

/// How a build can fail.
enum Fault {
    /// The sentence says all there is to know.
    Said(String),
    /// The compiler has written what is wrong to stderr.
    Compiler(String),
}

fn main() -> ExitCode {
    println!("cargo::rerun-if-env-changed={PREBUILT}");
    println!("cargo::rerun-if-env-changed={}", toolchain::FORCE);
    println!("cargo::rerun-if-changed=build.rs");
    let out = PathBuf::from(env::var_os("OUT_DIR").unwrap_or_default());
    let made = match env::var_os(PREBUILT) {
        Some(object) => take_prebuilt(Path::new(&object), &out),
        None => build(&out),
    };
    match made {
        Ok(()) => {
            println!("cargo::rustc-env=VNET_OBJECT={}", out.join("vnet.o").display());
            ExitCode::SUCCESS
        }
        Err(Fault::Said(sentence)) => {
            // Cargo fails the build for this line alone; an exit code would add a page of noise.
            println!("cargo::error={sentence}");
            ExitCode::SUCCESS
        }
        Err(Fault::Compiler(sentence)) => {
            // With an exit code cargo also shows stderr, where the compiler's messages are.
            println!("cargo::error={sentence}");
            ExitCode::FAILURE
        }
    }
}

fn take_prebuilt(object: &Path, out: &Path) -> Result<(), Fault> {
    println!("cargo::rerun-if-changed={}", object.display());
    copy(object, &out.join("vnet.o"))
}

fn build(out: &Path) -> Result<(), Fault> {
    let here = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").unwrap_or_default());
    let root = here.parent().unwrap_or(&here);
    for source in SOURCES {
        println!("cargo::rerun-if-changed={}", root.join(source).display());
    }
    let tools = toolchain::find().map_err(|missing| {
        Fault::Said(format!(
            "the eBPF object cannot be built here: {missing}. Run `cargo xtask setup`, which \
             installs what is missing, or set {PREBUILT} to an object built elsewhere."
        ))
    })?;
    println!("cargo::rerun-if-changed={}", tools.linker.path.display());
    let target_dir = target_dir(out);
    let arch = env::var("CARGO_CFG_TARGET_ARCH").unwrap_or_default();
    let mut cargo = tools.cargo("build", root, &target_dir, &arch);
    for object in OBJECTS {
        cargo.args(["--bin", object]);
    }
    let status = cargo.status().map_err(|e| {
        Fault::Said(format!("{} did not start: {e}", cargo.get_program().display()))
    })?;
    if !status.success() {
        return Err(Fault::Compiler(format!(
            "the eBPF object does not build with {}; the compiler's messages are below",
            tools.compiler
        )));
    }
    let built = target_dir.join(toolchain::TARGET).join("release");
    OBJECTS.iter().try_for_each(|name| copy(&built.join(name), &out.join(format!("{name}.o"))))
}

/// One directory beside the host's, shared by debug, release and clippy builds: the object is the
/// same for all, and a cargo inside cargo must not wait for the outer one's lock.
fn target_dir(out: &Path) -> PathBuf {
    // OUT_DIR is <target>/<profile>/build/<package>/out.
    out.ancestors().nth(4).unwrap_or(out).join("bpf")
}

fn copy(from: &Path, to: &Path) -> Result<(), Fault> {
    match fs::copy(from, to) {
        Ok(_) => Ok(()),
        Err(e) => Err(Fault::Said(format!("cannot copy {}: {e}", from.display()))),
    }
}
