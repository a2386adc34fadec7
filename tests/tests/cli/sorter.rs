//! Where fragments cannot be sorted everything else is done all the same, and that is said.

use vnet_tests::lab::{INSIDE, Lab, UPLINK};
use vnet_tests::vnetctl;

use crate::scene::Scene;

/// Attaches where this was done to what is mounted.
fn attached_after(mounts: &str, said: &str) {
    let lab = Lab::new();
    lab.forward();
    let scene = Scene::begin(lab);
    let (program, instance) = (vnetctl::program(), scene.lab.instance());
    let script = format!("{mounts} && exec \"$@\"");
    let shell = ["--mount", "sh", "-c", &script, "sh", &program.to_string_lossy(), "attach"];
    let words = ["--nat", UPLINK, "--inside", INSIDE, "--instance", instance];
    let command = scene.lab.router.command("unshare", &[&shell[..], &words].concat());
    vnetctl::run(command).ok().complains("are not put in order here").complains(said);
    assert_eq!(scene.status()["fragments"], "ordered");
    scene.detach();
}

#[test]
fn a_container_that_may_set_nothing_sorts_nothing() {
    let mounts = "mount --bind /proc/sys /proc/sys && mount -o remount,bind,ro /proc/sys";
    attached_after(mounts, "cannot write to /proc/sys");
}

#[test]
fn a_container_with_nowhere_to_keep_a_namespace_sorts_nothing() {
    let mounts = "mount -t tmpfs tmpfs /run && mount -o remount,ro /run";
    attached_after(mounts, "cannot write to /run");
}
