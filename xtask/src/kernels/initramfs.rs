//! A guest's whole file system: tools copied from the host with their libraries, modules, programs
//! and a shell script as init.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use super::checks::Check;
use super::console::MARK;
use super::cpio::Archive;
use super::fetch::Kernel;
use super::modules::{self, Module};
use super::programs::Programs;
use super::tools;
use crate::shell;

/// Writes the image for one guest.
pub(super) fn write(
    image: &Path,
    kernel: &Kernel,
    programs: &Programs,
    checks: &[Check],
) -> Result<()> {
    let mut archive = Archive::default();
    for folder in ["proc", "sys", "dev", "run", "tmp", "root", "etc", "var", "modules"] {
        archive.folder(folder);
    }
    archive.device("dev/console", (5, 1));
    archive.link("var/run", "/run");
    archive.file("etc/passwd", 0o644, b"root:x:0:0:root:/root:/bin/sh\n");
    archive.file("etc/hosts", 0o644, b"127.0.0.1 localhost\n::1 localhost\n");
    add_tools(&mut archive)?;

    let modules = modules::load(&kernel.modules)?;
    for module in &modules {
        archive.file(&format!("modules/{}.ko", module.name), 0o644, &module.content);
    }
    add_program(&mut archive, "bin/vnetctl", &programs.vnetctl)?;
    for (name, path) in &programs.tests {
        add_program(&mut archive, &format!("tests/{name}"), path)?;
    }
    archive.file("init", 0o755, script(&modules, checks).as_bytes());
    fs::write(image, archive.finish()).with_context(|| format!("cannot write {}", image.display()))
}

fn add_program(archive: &mut Archive, name: &str, path: &Path) -> Result<()> {
    let content = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    archive.file(name, 0o755, &content);
    Ok(())
}

/// Copies the host's tools to `usr/sbin` and each library they load to where the loader expects it.
fn add_tools(archive: &mut Archive) -> Result<()> {
    let mut libraries = BTreeSet::new();
    for (name, package) in tools::USERLAND {
        let path = shell::program(name)
            .with_context(|| format!("{name} is missing; install the package {package}"))?;
        add_program(archive, &format!("usr/sbin/{name}"), &path)?;
        if name == "busybox" {
            add_applets(archive, &path)?;
        }
        // A static program makes ldd fail: it has no libraries.
        if let Ok(listed) = shell::output(Command::new("ldd").arg(&path)) {
            libraries.extend(listed.lines().filter_map(library));
        }
    }
    libraries.iter().try_for_each(|library| add_program(archive, library, Path::new(library)))
}

/// Links all of busybox's names but its shell: that one would prefer its own ip, tc and ping to the
/// real ones.
fn add_applets(archive: &mut Archive, busybox: &Path) -> Result<()> {
    let names = shell::output(Command::new(busybox).arg("--list"))?;
    for name in names.lines().filter(|name| !["sh", "busybox"].contains(name)) {
        archive.link(&format!("bin/{name}"), "/usr/sbin/busybox");
    }
    archive.link("bin/sh", "/usr/sbin/dash");
    Ok(())
}

/// The path in a line of ldd: "libc.so.6 => /lib/libc.so.6 (0x7f)" or "/lib64/ld-linux.so (0x7f)".
fn library(line: &str) -> Option<String> {
    line.split_whitespace().find(|word| word.starts_with('/')).map(str::to_owned)
}

/// The init script: mounts, modules, then each check between marked lines, then the kernel's
/// warnings. From the checks on, the kernel prints nothing but panics, which would break into lines.
fn script(modules: &[Module], checks: &[Check]) -> String {
    let mut script = format!(
        "#!/bin/sh\n\
         export PATH=/usr/sbin:/bin HOME=/root VNETCTL=/bin/vnetctl RUST_BACKTRACE=1\n\
         mount -t proc proc /proc\n\
         mount -t sysfs sysfs /sys\n\
         mount -t devtmpfs devtmpfs /dev\n\
         mount -t tmpfs tmpfs /run\n\
         mount -t tmpfs tmpfs /tmp\n\
         mount -t bpf bpf /sys/fs/bpf\n\
         mount -t cgroup2 cgroup2 /sys/fs/cgroup\n\
         ip link set lo up\n\
         try() {{ \"$@\" 2>&1 || echo \"{MARK}trouble failed: $*\"; }}\n\
         check() {{ echo \"{MARK}begin $1\"; shift; \"$@\" 2>&1; echo \"{MARK}end $?\"; }}\n"
    );
    for module in modules {
        let options = options(&module.name);
        writeln!(script, "try insmod /modules/{}.ko{options}", module.name)
            .expect("a String grows");
    }
    script.push_str("dmesg -n 1\ndmesg -c >/dev/null\n");
    writeln!(script, "echo \"{MARK}ready $(cut -d' ' -f1 /proc/uptime)\"").expect("a String grows");
    for check in checks {
        writeln!(script, "check {} {}", check.name, check.command).expect("a String grows");
    }
    writeln!(
        script,
        "dmesg | grep -A 20 -e 'cut here' -e 'BUG: ' | sed 's/^/{MARK}trouble /'\n\
         echo '{MARK}done'\n\
         poweroff -f"
    )
    .expect("a String grows");
    script
}

/// Options that keep a module from making devices nobody asked for.
fn options(module: &str) -> &'static str {
    match module {
        "dummy" => " numdummies=0",
        "ifb" => " numifbs=0",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::super::{checks, version};
    use super::*;

    #[test]
    fn ldd_lines_give_paths() {
        let line = "\tlibmnl.so.0 => /lib/x86_64-linux-gnu/libmnl.so.0 (0x00007f)";
        assert_eq!(library(line).as_deref(), Some("/lib/x86_64-linux-gnu/libmnl.so.0"));
        let loader = library("\t/lib64/ld-linux-x86-64.so.2 (0x00007f)");
        assert_eq!(loader.as_deref(), Some("/lib64/ld-linux-x86-64.so.2"));
        assert_eq!(library("\tlinux-vdso.so.1 (0x00007ffd)"), None);
    }

    #[test]
    fn init_is_a_script_the_shell_accepts() {
        let modules = [Module { name: "veth".to_owned(), content: Vec::new() }];
        for minor in [0, 1] {
            let checks = checks::for_kernel(version::Version { major: 6, minor }, 2, Some("a::b"));
            let script = script(&modules, &checks);
            let parsed = Command::new("sh").args(["-n", "-c", &script]).output().expect("sh runs");
            assert!(parsed.status.success(), "{}", String::from_utf8_lossy(&parsed.stderr));
            assert!(script.contains("try insmod /modules/veth.ko\n"));
        }
    }
}
