//! Other people's programs: never touched, and named in the refusal.

use aya::programs::tc::{NlOptions, TcAttachOptions};
use aya::programs::{LinkOrder, SchedClassifier, TcAttachType};
use vnet_ctl::bpf::{Loaded, Sizes};
use vnet_tests::lab::UPLINK;

use crate::scene::{Scene, attach};

const BUSY: i32 = 6;

/// A program that is not ours, though it has the same name as ours: what counts is who put it there.
fn somebodys() -> Loaded {
    let sizes = Sizes { max_flows: 16, addresses: 1, log_level: 0, telling: 0 };
    let mut loaded = Loaded::load(sizes, None).expect("the object can be loaded");
    loaded.load_programs().expect("the programs can be loaded");
    loaded
}

fn put(scene: &Scene, program: &mut SchedClassifier, options: TcAttachOptions) {
    let attached = scene
        .lab
        .router
        .run(|| program.attach_with_options(UPLINK, TcAttachType::Egress, options).map(drop));
    attached.expect("the program can be attached");
}

#[test]
fn a_tcx_program() {
    let scene = Scene::new();
    let mut loaded = somebodys();
    let program = loaded.program("vnet_out").expect("the program is there");
    let tcx = scene.lab.router.run(|| SchedClassifier::query_tcx(UPLINK, TcAttachType::Egress));
    if tcx.is_err() {
        vnet_tests::skip!("this kernel has no TCX");
    }
    put(&scene, program, TcAttachOptions::TcxOrder(LinkOrder::default()));
    let told = ["'up0' already has the TCX program 'vnet_out'", "remove it"];
    scene.refuses(&attach(&[]), BUSY, &told);
}

#[test]
fn a_clsact_program() {
    let scene = Scene::new();
    scene.lab.router.must("tc", &["qdisc", "add", "dev", UPLINK, "clsact"]);
    let mut loaded = somebodys();
    let program = loaded.program("vnet_out").expect("the program is there");
    let options = NlOptions { priority: 50, ..NlOptions::default() };
    put(&scene, program, TcAttachOptions::Netlink(options));
    let told = ["'up0' already has the clsact filter", "remove it"];
    scene.refuses(&attach(&[]), BUSY, &told);
}

#[test]
fn a_filter_of_another_kind() {
    let scene = Scene::new();
    scene.lab.router.must("tc", &["qdisc", "add", "dev", UPLINK, "clsact"]);
    let filter = "filter add dev up0 ingress protocol ip prio 5 u32 match u32 0 0 classid 1:1";
    scene.lab.router.must("tc", &filter.split(' ').collect::<Vec<_>>());
    scene.refuses(&attach(&[]), BUSY, &["already has the clsact filter", "u32"]);
}

#[test]
fn an_empty_clsact_of_somebody_else_stays() {
    for tcx in ["on", "off"] {
        let scene = Scene::new();
        scene.lab.router.must("tc", &["qdisc", "add", "dev", UPLINK, "clsact"]);
        let scene = Scene::begin(scene.lab);
        let command = |words: &[&str]| {
            let mut command = scene.lab.vnetctl_command(words);
            command.env("VNET_TCX", tcx);
            vnet_tests::vnetctl::run(command)
        };
        command(&attach(&[])).ok();
        command(&["detach", UPLINK]).ok();
        scene.untouched();
    }
}

#[test]
fn a_filter_that_came_later_stays() {
    let scene = Scene::new();
    let command = |words: &[&str]| {
        let mut command = scene.lab.vnetctl_command(words);
        command.env("VNET_TCX", "off");
        vnet_tests::vnetctl::run(command)
    };
    command(&attach(&[])).ok();
    let filter = "filter add dev up0 ingress protocol ip prio 50 u32 match u32 0 0 classid 1:1";
    scene.lab.router.must("tc", &filter.split(' ').collect::<Vec<_>>());
    command(&["detach", UPLINK]).ok();
    let left = scene.lab.router.must("tc", &["filter", "show", "dev", UPLINK, "ingress"]);
    assert!(left.contains("u32") && !left.contains("vnet_in"), "{left}");
    scene.lab.router.must("tc", &["qdisc", "del", "dev", UPLINK, "clsact"]);
    scene.untouched();
}
