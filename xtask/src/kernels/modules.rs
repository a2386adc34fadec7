//! Kernel modules for a guest that has no modprobe: which to take, and in which order to insert them.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

/// What the tests may use; a kernel that lacks one, or has it built in, is simply not given it.
/// `br_netfilter` is left out on purpose: bridged traffic would visit nftables and mislead tests.
const WANTED: &str = "\
    8021q act_bpf act_csum act_gact act_mirred act_pedit act_police act_skbedit act_vlan \
    bridge cls_bpf cls_flower cls_fw cls_matchall cls_u32 dummy ifb ip_tables iptable_nat \
    ipvlan ipvtap macvlan macvtap netkit nf_conntrack_netlink nf_flow_table \
    nf_flow_table_inet nf_tables nft_chain_nat nft_counter nft_ct nft_fib_inet \
    nft_flow_offload nft_limit nft_log nft_masq nft_nat nft_numgen nft_redir nft_reject_inet \
    pktgen sch_fq sch_fq_codel sch_htb sch_ingress sch_netem sch_prio sch_tbf tap tcp_bbr \
    tcp_diag tun udp_diag veth vrf vxlan wireguard xt_MASQUERADE";

/// A module ready to insert.
pub(super) struct Module {
    pub(super) name: String,
    /// Unpacked.
    pub(super) content: Vec<u8>,
}

/// Reads the wanted modules and what they depend on below `folder`, in the order to insert them.
pub(super) fn load(folder: &Path) -> Result<Vec<Module>> {
    let mut paths = BTreeMap::new();
    index(folder, &mut paths)
        .with_context(|| format!("cannot list the modules in {}", folder.display()))?;
    let mut contents = BTreeMap::new();
    let order = order(WANTED.split_whitespace(), |name| {
        let Some(path) = paths.get(name) else { return Ok(None) };
        let content = unpack(path)?;
        let depends = depends_of(&content);
        contents.insert(name.to_owned(), content);
        Ok(Some(depends))
    })?;
    let module = |name: String| {
        let content = contents.remove(&name).unwrap_or_default();
        Module { name, content }
    };
    Ok(order.into_iter().map(module).collect())
}

/// `wanted` and all they depend on, dependencies first. `depends` answers `None` for a module that
/// is not there: skipped when it was only wanted, an error when another one needs it.
fn order<'a>(
    wanted: impl IntoIterator<Item = &'a str>,
    mut depends: impl FnMut(&str) -> Result<Option<Vec<String>>>,
) -> Result<Vec<String>> {
    let mut order = Vec::new();
    let mut seen = BTreeMap::new();
    for name in wanted {
        visit(name, &mut depends, &mut seen, &mut order)?;
    }
    Ok(order)
}

/// Puts `name` after its dependencies; answers whether it is there.
fn visit(
    name: &str,
    depends: &mut impl FnMut(&str) -> Result<Option<Vec<String>>>,
    seen: &mut BTreeMap<String, bool>,
    order: &mut Vec<String>,
) -> Result<bool> {
    if let Some(there) = seen.get(name) {
        return Ok(*there);
    }
    let needs = depends(name)?;
    seen.insert(name.to_owned(), needs.is_some());
    let Some(needs) = needs else { return Ok(false) };
    for need in needs {
        if !visit(&need, depends, seen, order)? {
            bail!("module {name} needs {need}, which this kernel's packages do not hold");
        }
    }
    order.push(name.to_owned());
    Ok(true)
}

/// The `depends=` line of the module's .modinfo (strings ended by NUL), as module names.
fn depends_of(content: &[u8]) -> Vec<String> {
    const KEY: &[u8] = b"\0depends=";
    let Some(at) = content.windows(KEY.len()).position(|window| window == KEY) else {
        return Vec::new();
    };
    let value = content[at + KEY.len()..].split(|byte| *byte == 0).next().unwrap_or_default();
    let names = String::from_utf8_lossy(value).into_owned();
    names.split(',').filter(|name| !name.is_empty()).map(plain).collect()
}

/// Module names are written with either dash; the kernel's own spelling has the underscore.
fn plain(name: &str) -> String {
    name.replace('-', "_")
}

fn index(folder: &Path, paths: &mut BTreeMap<String, PathBuf>) -> Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let path = entry.path();
        if entry.file_type()?.is_dir() {
            index(&path, paths)?;
        } else if let Some((name, _)) = entry.file_name().to_string_lossy().split_once(".ko") {
            paths.insert(plain(name), path);
        }
    }
    Ok(())
}

fn unpack(path: &Path) -> Result<Vec<u8>> {
    let unpacker = match path.extension().and_then(|extension| extension.to_str()) {
        Some("xz") => "xz",
        Some("zst") => "zstd",
        _ => return fs::read(path).with_context(|| format!("cannot read {}", path.display())),
    };
    let done = Command::new(unpacker)
        .arg("-dc")
        .arg(path)
        .output()
        .with_context(|| format!("cannot run {unpacker}"))?;
    if !done.status.success() {
        bail!("{unpacker} cannot unpack {}; delete that kernel's folder", path.display());
    }
    Ok(done.stdout)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(name: &str) -> Option<Vec<String>> {
        let needs: &[&str] = match name {
            "nft_masq" => &["nf_nat", "nf_tables"],
            "nf_nat" => &["nf_conntrack"],
            "nf_tables" | "nf_conntrack" => &["libcrc32c"],
            "libcrc32c" => &[],
            "broken" => &["missing"],
            _ => return None,
        };
        Some(needs.iter().map(|&need| need.to_owned()).collect())
    }

    #[test]
    fn dependencies_come_first_and_once() -> Result<()> {
        let order = order(["nf_tables", "nft_masq", "netkit"], |name| Ok(table(name)))?;
        assert_eq!(order, ["libcrc32c", "nf_tables", "nf_conntrack", "nf_nat", "nft_masq"]);
        Ok(())
    }

    #[test]
    fn a_missing_dependency_is_named() {
        let error = order(["broken"], |name| Ok(table(name))).expect_err("missing is not there");
        assert!(error.to_string().contains("broken needs missing"), "{error}");
    }

    #[test]
    fn modinfo_names_are_read_to_their_nul() {
        let content = b"ELF\0license=GPL\0depends=nf-nat,nf_tables\0retpoline=Y\0";
        assert_eq!(depends_of(content), ["nf_nat", "nf_tables"]);
        assert!(depends_of(b"\0depends=\0name=veth\0").is_empty());
        assert!(depends_of(b"softdepends=x\0").is_empty());
    }
}
