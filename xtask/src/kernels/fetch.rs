//! Debian's stock cloud kernels, by series, unpacked once under `target/kernels/<series>/`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::apt::{Apt, Installed, Mirrors};
use super::talk::Talk;
use super::version::Version;
use crate::shell::output;

const META: &str = "linux-image-cloud-amd64";
const IMAGE: &str = "linux-image-";
const FLAVOUR: &str = "-cloud-amd64";

/// An unpacked kernel.
pub(super) struct Kernel {
    /// The series asked for.
    pub(super) version: Version,
    /// What `uname -r` will say.
    pub(super) release: String,
    /// The image to boot.
    pub(super) vmlinuz: PathBuf,
    /// The folder with all its modules, compressed as Debian ships them.
    pub(super) modules: PathBuf,
}

/// Returns the kernel of `version`, fetching it when it is not in `cache`.
///
/// The newest point release on offer is taken, never a pinned one: security suites keep only a few.
pub(super) fn kernel(cache: &Path, version: Version, talk: &Talk) -> Result<Kernel> {
    let home = cache.join(version.to_string());
    if !home.join("release").exists() {
        fetch(cache, &home, version, talk)
            .with_context(|| format!("cannot fetch a Linux {version} kernel"))?;
    }
    let release = fs::read_to_string(home.join("release"))
        .with_context(|| format!("cannot read {}; delete that folder", home.display()))?;
    Ok(Kernel { version, release, vmlinuz: home.join("vmlinuz"), modules: home.join("modules") })
}

/// The suites that carry a series: long-lived ones in their release's security suite, the rest in
/// backports or, for a while, in sid.
fn suites(version: Version) -> &'static [&'static str] {
    match (version.major, version.minor) {
        (5, 10) => &["bullseye-security"],
        (6, 1) => &["bookworm-security"],
        (6, 12) => &["trixie-security"],
        _ => &["trixie-backports", "sid"],
    }
}

fn fetch(cache: &Path, home: &Path, version: Version, talk: &Talk) -> Result<()> {
    let suites = suites(version);
    let step = talk.step(&format!("Linux {version}: reading the index of {}", suites.join(", ")));
    let folder = cache.join("apt").join(suites.join("+"));
    let apt = Apt::open(&folder, &Mirrors::of_system()?, suites, Installed::Nothing)?;
    let Some(image) = image_package(&apt, version)? else {
        bail!("{} has no {IMAGE}{version}.*{FLAVOUR} now; try another series", suites.join(", "));
    };
    let release = image.trim_start_matches(IMAGE).to_owned();

    step.say(&format!("Linux {version}: downloading {image}"));
    let part = cache.join(format!("{version}.part"));
    if part.exists() {
        fs::remove_dir_all(&part)?;
    }
    let packages = apt.download(&with_contents(&apt, &image)?, &part.join("packages"))?;

    step.say(&format!("Linux {version}: unpacking"));
    let unpacked = part.join("unpacked");
    for package in &packages {
        output(Command::new("dpkg-deb").arg("-x").arg(package).arg(&unpacked))?;
    }
    keep(&part, &unpacked, &release)?;
    if home.exists() {
        fs::remove_dir_all(home)?;
    }
    fs::rename(&part, home)?;
    step.done(&format!("Linux {version}: {release} is now in {}", home.display()));
    Ok(())
}

/// The versioned image package: through the meta-package, else the newest one named after it.
fn image_package(apt: &Apt, version: Version) -> Result<Option<String>> {
    let is_image = |name: &String| {
        let release = name.strip_prefix(IMAGE).unwrap_or_default();
        version.covers(release) && name.ends_with(FLAVOUR)
    };
    for offered in apt.versions(META)?.iter().filter(|offered| version.covers(offered)) {
        let depends = apt.depends(&format!("{META}={offered}"))?;
        if let Some(image) = depends.into_iter().find(is_image) {
            return Ok(Some(image));
        }
    }
    let named = apt.names(&format!("{IMAGE}{version}."))?;
    Ok(named.into_iter().filter(is_image).max_by_key(|name| numbers(name)))
}

/// `image` and, since 7.2, the packages that carry what it used to: the binary and the modules.
fn with_contents(apt: &Apt, image: &str) -> Result<Vec<String>> {
    let carries = |name: &String| {
        (name.starts_with("linux-binary-") || name.starts_with("linux-modules-"))
            && name.ends_with(FLAVOUR)
    };
    let mut packages = vec![image.to_owned()];
    packages.extend(apt.depends(image)?.into_iter().filter(carries));
    Ok(packages)
}

/// Moves the parts we boot from `unpacked` to `part`; writes `release` last, as the mark of success.
fn keep(part: &Path, unpacked: &Path, release: &str) -> Result<()> {
    let first = |choices: [String; 2]| {
        let found = choices.iter().map(|choice| unpacked.join(choice)).find(|path| path.exists());
        found.with_context(|| format!("the packages hold neither {}", choices.join(" nor ")))
    };
    let vmlinuz =
        first([format!("boot/vmlinuz-{release}"), format!("usr/lib/modules/{release}/vmlinuz")])?;
    fs::rename(vmlinuz, part.join("vmlinuz"))?;
    let modules = first([
        format!("lib/modules/{release}/kernel"),
        format!("usr/lib/modules/{release}/kernel"),
    ])?;
    fs::rename(modules, part.join("modules"))?;
    fs::remove_dir_all(unpacked)?;
    fs::remove_dir_all(part.join("packages"))?;
    fs::write(part.join("release"), release)?;
    Ok(())
}

/// The numbers in a name, so that 7.0.10 sorts after 7.0.9.
fn numbers(name: &str) -> Vec<u64> {
    name.split(|c: char| !c.is_ascii_digit()).filter_map(|digits| digits.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn newest_point_release_is_by_number() {
        let names = ["linux-image-7.0.9+deb13-cloud-amd64", "linux-image-7.0.10+deb13-cloud-amd64"];
        assert_eq!(names.iter().max_by_key(|name| numbers(name)), Some(&names[1]));
    }
}
