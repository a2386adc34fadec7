//! apt with directories of our own: other suites can be read without touching the machine's.
//!
//! The mirror is whatever the system's own apt configuration names for Debian; it is never guessed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::shell::output;

const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// The two addresses Debian is published under.
pub(super) struct Mirrors {
    /// The system's release, for example `bookworm`.
    pub(super) codename: String,
    main: String,
    security: String,
}

/// Which packages the solver believes to be there already.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Installed {
    /// None: for looking and downloading only.
    Nothing,
    /// What dpkg knows: for installing.
    System,
}

/// A private view of some suites.
pub(super) struct Apt {
    options: Vec<String>,
}

impl Mirrors {
    /// Asks the system's apt where it would fetch Debian from.
    pub(super) fn of_system() -> Result<Self> {
        let os = fs::read_to_string("/etc/os-release").context("cannot read /etc/os-release")?;
        let codename = os_field(&os, "VERSION_CODENAME").unwrap_or_default();
        if os_field(&os, "ID").as_deref() != Some("debian") {
            bail!(
                "other kernels are fetched through this system's own Debian mirror, and this \
                 system is not Debian; run this command on Debian 12 or newer"
            );
        }
        let plan = output(Command::new("apt-get").args(["--print-uris", "update"]))?;
        let main = mirror_of(&plan, &codename);
        let security = mirror_of(&plan, &format!("{codename}-security"));
        let (Some(main), Some(security)) = (main, security) else {
            bail!(
                "apt has no mirror for {codename} and {codename}-security; add both to \
                 /etc/apt/sources.list.d and try again"
            );
        };
        Ok(Self { codename, main, security })
    }

    fn source(&self, suite: &str) -> String {
        let base = if suite.ends_with("-security") { &self.security } else { &self.main };
        let signed = if Path::new(KEYRING).exists() {
            format!("[signed-by={KEYRING}] ")
        } else {
            String::new()
        };
        format!("deb {signed}{base} {suite} main\n")
    }
}

impl Apt {
    /// Opens `suites` with lists and cache under `folder`, and fetches their indexes.
    pub(super) fn open(
        folder: &Path,
        mirrors: &Mirrors,
        suites: &[&str],
        installed: Installed,
    ) -> Result<Self> {
        for inner in ["lists/partial", "cache/archives/partial"] {
            fs::create_dir_all(folder.join(inner))
                .with_context(|| format!("cannot make folders in {}", folder.display()))?;
        }
        let sources: String = suites.iter().map(|suite| mirrors.source(suite)).collect();
        fs::write(folder.join("sources.list"), sources)?;
        fs::write(folder.join("status"), "")?;
        let apt = Self { options: options(folder, installed) };
        output(apt.command("apt-get").arg("update"))
            .with_context(|| format!("cannot read the package lists of {}", suites.join(", ")))?;
        Ok(apt)
    }

    /// `program` (apt-get, apt-cache) looking only at this view.
    pub(super) fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.args(&self.options);
        command
    }

    /// The package names that begin with `prefix`.
    pub(super) fn names(&self, prefix: &str) -> Result<Vec<String>> {
        let listed = output(self.command("apt-cache").args(["pkgnames", prefix]))?;
        Ok(listed.lines().map(str::to_owned).collect())
    }

    /// The versions of `package` on offer.
    pub(super) fn versions(&self, package: &str) -> Result<Vec<String>> {
        let listed = output(self.command("apt-cache").args(["madison", package]))?;
        Ok(listed
            .lines()
            .filter_map(|line| Some(line.split('|').nth(1)?.trim().to_owned()))
            .collect())
    }

    /// The names `package` ("name" or "name=version") depends on, alternatives included.
    pub(super) fn depends(&self, package: &str) -> Result<Vec<String>> {
        let shown = output(self.command("apt-cache").args(["show", "--no-all-versions", package]))?;
        Ok(depends_of(&shown))
    }

    /// Downloads `packages` into `folder`.
    pub(super) fn download(&self, packages: &[String], folder: &Path) -> Result<Vec<PathBuf>> {
        fs::create_dir_all(folder)?;
        output(self.command("apt-get").arg("download").args(packages).current_dir(folder))
            .with_context(|| format!("cannot download {}", packages.join(", ")))?;
        let entries = fs::read_dir(folder)?.map(|entry| Ok(entry?.path()));
        let paths = entries.collect::<Result<Vec<_>>>()?;
        Ok(paths.into_iter().filter(|path| path.extension().is_some_and(|e| e == "deb")).collect())
    }
}

fn options(folder: &Path, installed: Installed) -> Vec<String> {
    let folder = folder.display();
    let mut settings = vec![
        format!("Dir::Etc::sourcelist={folder}/sources.list"),
        "Dir::Etc::sourceparts=/dev/null".to_owned(),
        format!("Dir::State::Lists={folder}/lists"),
        format!("Dir::Cache={folder}/cache"),
        "APT::Update::Error-Mode=any".to_owned(),
        "Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false".to_owned(),
        // Our folders may lie where apt's own user cannot write.
        "APT::Sandbox::User=root".to_owned(),
    ];
    if installed == Installed::Nothing {
        settings.push(format!("Dir::State::status={folder}/status"));
    }
    settings.into_iter().flat_map(|setting| ["-o".to_owned(), setting]).collect()
}

fn os_field(os_release: &str, key: &str) -> Option<String> {
    let value = os_release.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='))?;
    Some(value.trim_matches('"').to_owned())
}

/// The address that serves `suite`, from `apt-get --print-uris update`.
fn mirror_of(plan: &str, suite: &str) -> Option<String> {
    let tail = format!("/dists/{suite}/InRelease'");
    plan.lines().find_map(|line| {
        let end = line.find(&tail)?;
        Some(line[..end].trim_start_matches('\'').to_owned())
    })
}

fn depends_of(shown: &str) -> Vec<String> {
    let fields = shown.lines().filter_map(|line| line.strip_prefix("Depends: "));
    let names = fields.flat_map(|field| field.split([',', '|']));
    names.filter_map(|name| Some(name.split_whitespace().next()?.to_owned())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mirrors_come_from_apts_own_plan() {
        let plan = "'http://m.example/debian/dists/bookworm-updates/InRelease' a 0 \n\
                    'http://m.example/debian/dists/bookworm/InRelease' b 0 \n\
                    'http://m.example/sec/dists/bookworm-security/InRelease' c 0 \n";
        assert_eq!(mirror_of(plan, "bookworm").as_deref(), Some("http://m.example/debian"));
        assert_eq!(mirror_of(plan, "bookworm-security").as_deref(), Some("http://m.example/sec"));
        assert_eq!(mirror_of(plan, "trixie"), None);
    }

    #[test]
    fn depends_lose_versions_and_split_alternatives() {
        let shown = "Package: a\nDepends: kmod, linux-base (>= 4.3~), dracut | initramfs-tools\n";
        assert_eq!(depends_of(shown), ["kmod", "linux-base", "dracut", "initramfs-tools"]);
    }

    #[test]
    fn os_release_values_lose_their_quotes() {
        let text = "ID=debian\nVERSION_CODENAME=\"bookworm\"\n";
        assert_eq!(os_field(text, "VERSION_CODENAME").as_deref(), Some("bookworm"));
        assert_eq!(os_field(text, "VERSION"), None);
    }
}
