//! Where pins live: mounted when it is not, and found from mount namespaces that hide it.

use std::process::Command;

use vnet_tests::lab::{Lab, UPLINK};
use vnet_tests::vnetctl;

use crate::scene::{Scene, attach};

/// Runs a shell script in the router, in mounts and processes of its own, without bpffs.
fn without_bpffs(lab: &Lab, script: &str) -> vnetctl::Outcome {
    let program = vnetctl::program();
    let script = format!(
        "umount -l /sys/fs/bpf\n\
         vnetctl() {{ {} \"$@\" --instance {}; }}\n\
         {script}",
        program.display(),
        lab.instance()
    );
    let words = ["--mount", "--pid", "--fork", "--mount-proc", "sh", "-c", &script];
    vnetctl::run(lab.router.command("unshare", &words))
}

fn can_unshare() -> bool {
    let words = ["--mount", "--pid", "--fork", "--mount-proc", "true"];
    Command::new("unshare").args(words).status().is_ok_and(|status| status.success())
}

#[test]
fn it_is_mounted_when_it_is_not() {
    if !can_unshare() {
        vnet_tests::skip!("unshare (util-linux) cannot make mount and process namespaces here");
    }
    let scene = Scene::new();
    let script = "vnetctl attach --nat up0 && vnetctl status --json && vnetctl detach up0";
    let outcome = without_bpffs(&scene.lab, script).ok();
    outcome.complains("mounted bpffs on /sys/fs/bpf").says("\"health\":\"ok\"");
    scene.untouched();
}

#[test]
fn a_refusal_does_not_leave_it_mounted() {
    if !can_unshare() {
        vnet_tests::skip!("unshare (util-linux) cannot make mount and process namespaces here");
    }
    let scene = Scene::new();
    let script = "vnetctl attach --nat nope0; echo code $?\n\
        vnetctl attach --nat up0 --max-flows 2147482623; echo code $?\n\
        vnetctl status; echo code $?\n\
        mount | grep -c ' /sys/fs/bpf '";
    let outcome = without_bpffs(&scene.lab, script);
    assert_eq!(outcome.stdout, "code 4\ncode 8\ncode 10\n0\n", "{outcome}");
    scene.untouched();
}

#[test]
fn of_several_at_once_one_mounts_it() {
    if !can_unshare() {
        vnet_tests::skip!("unshare (util-linux) cannot make mount and process namespaces here");
    }
    let scene = Scene::new();
    let script = "for turn in 1 2 3 4; do vnetctl attach --nat up0 >/dev/null & done; wait\n\
        mount | grep -c ' /sys/fs/bpf '; vnetctl status | grep -c up0 >&2; vnetctl detach up0";
    let outcome = without_bpffs(&scene.lab, script).ok();
    assert!(outcome.stdout.starts_with("1\n"), "{outcome}");
    assert_eq!(outcome.stderr.matches("mounted bpffs").count(), 1, "{outcome}");
    scene.untouched();
}

#[test]
fn a_lock_is_waited_for() {
    if !can_unshare() {
        vnet_tests::skip!("unshare (util-linux) cannot make mount and process namespaces here");
    }
    let scene = Scene::new();
    // On a bpffs of its own, so that the stories beside this one need not wait.
    let script = "mount -t bpf bpf /sys/fs/bpf && mkdir /sys/fs/bpf/vnet\n\
        flock /sys/fs/bpf/vnet sh -c 'sleep 2; echo released' & sleep 0.5\n\
        vnetctl attach --nat up0 && vnetctl detach up0";
    let outcome = without_bpffs(&scene.lab, script).ok();
    let said: Vec<_> = outcome.stdout.lines().collect();
    assert!(said.len() == 3 && said[0] == "released", "the lock is waited for: {outcome}");
    scene.untouched();
}

#[test]
fn somebody_who_keeps_the_lock_is_named_in_the_end() {
    if !can_unshare() {
        vnet_tests::skip!("unshare (util-linux) cannot make mount and process namespaces here");
    }
    let scene = Scene::new();
    // Those who only look do not wait as long, and are not refused.
    let script = "mount -t bpf bpf /sys/fs/bpf && mkdir /sys/fs/bpf/vnet\n\
        flock /sys/fs/bpf/vnet sleep 50 & sleep 0.3\n\
        vnetctl flows; echo code $?\n\
        vnetctl attach --nat up0; echo code $?";
    let outcome = without_bpffs(&scene.lab, script);
    assert_eq!(outcome.stdout, "code 10\ncode 11\n", "{outcome}");
    outcome.complains("another vnetctl has held the lock");
    scene.untouched();
}

#[test]
fn ip_netns_exec_is_no_obstacle() {
    let scene = Scene::new();
    let program = vnetctl::program();
    let exec = |words: &[&str]| {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", scene.lab.router.name()]).arg(&program);
        command.args(words).args(["--instance", scene.lab.instance()]);
        vnetctl::run(command).ok()
    };
    exec(&attach(&[]));
    assert_eq!(scene.status()["health"], "ok", "its pins are seen from outside");
    exec(&["status"]).says("up0");
    exec(&["detach", UPLINK]);
    scene.untouched();
}
