//! Options of attach: said, read back by `status`, changed in place, and refused when they make no
//! sense.

use serde_json::{Value, json};
use vnet_tests::lab::UPLINK;

use crate::scene::{Scene, attach};

const USAGE: i32 = 2;
const ADDRESS: i32 = 5;

#[test]
fn every_option_is_read_back_and_falls_back_when_it_is_left_out() {
    let scene = Scene::new();
    let cases: [(&[&str], &str, Value, Value); 9] = [
        (
            &["--low-ports", "512-1023"],
            "low_ports",
            json!({"min": 512, "max": 1023}),
            json!({"min": 1, "max": 1023}),
        ),
        (&["--low-ports", "none"], "low_ports", Value::Null, json!({"min": 1, "max": 1023})),
        (&["--ports", "2000-3000"], "low_ports", Value::Null, json!({"min": 1, "max": 1023})),
        (
            &["--filtering", "endpoint-independent"],
            "filtering",
            json!("endpoint-independent"),
            json!("address-and-port-dependent"),
        ),
        (
            &["--exclude", "10.9.0.0/16", "--exclude", "192.0.2.1"],
            "exclude",
            json!(["10.9.0.0/16", "192.0.2.1/32"]),
            json!([]),
        ),
        (&["--max-ports-per-host", "100"], "max_ports_per_host", json!(100), Value::Null),
        (&["--max-flows-per-host", "200"], "max_flows_per_host", json!(200), Value::Null),
        (&["--refresh", "outbound"], "refresh", json!("outbound"), json!("both")),
        (&["--no-answer"], "answer", json!(false), json!(true)),
    ];
    scene.attach(&[]);
    for (words, key, said, usual) in cases {
        assert_eq!(scene.status()[key], usual, "{key}");
        scene.attach(words).says("changed: up0 translates");
        assert_eq!(scene.status()[key], said, "{words:?}");
        assert_eq!(scene.steps(&attach(words)), [""; 0], "{words:?}");
        scene.attach(&[]).says(" -> ");
    }
    scene.detach();
}

#[test]
fn blocks_and_their_size_are_read_back() {
    let scene = Scene::new();
    let words = ["attach", "--nat", UPLINK, "--inside", "10.0.0.0/24", "--port-block", "200"];
    scene.lab.vnetctl(&words).ok();
    let status = scene.status();
    assert_eq!((&status["port_block"], &status["low_ports"]), (&json!(200), &Value::Null));
    scene.lab.vnetctl(&["status"]).ok().says("200 for each inside host");
    scene.lab.vnetctl(&["blocks", "--host", "10.0.0.0"]).ok().says("1024-1223");
    scene.attach(&[]).says("port-block: 200 -> none");
    scene.refuses(&["blocks"], 10, &["has no port blocks"]);
    scene.detach();
}

#[test]
fn what_makes_no_sense_is_refused() {
    let scene = Scene::new();
    let cases: [(&[&str], &str); 10] = [
        (&["--low-ports", "1-1024"], "give a range of ports below 1024"),
        (&["--filtering", "open"], "take endpoint-independent, address-dependent or"),
        (&["--refresh", "never"], "take both, or outbound"),
        (&["--exclude", "10.9.0.1/16"], "say 10.9.0.0/16"),
        (&["--exclude", "server"], "give an IPv4 prefix"),
        (&["--max-ports-per-host", "0"], "give a number from 1"),
        (&["--max-flows-per-host", "many"], "give a number from 1"),
        (&["--port-block", "0"], "give a number from 1"),
        (&["--port-block", "64", "--inside", "in0"], "name all of them as prefixes"),
        (&["--port-block", "64", "--low-ports", "1-1023"], "leave --low-ports out"),
    ];
    for (words, told) in cases {
        scene.refuses(&attach(words), USAGE, &[told]);
    }
    let everybody = ["attach", "--nat", UPLINK, "--port-block", "64"];
    scene.refuses(&everybody, USAGE, &["name all of them as prefixes"]);
    let many = ["attach", "--nat", UPLINK, "--inside", "10.0.0.0/16", "--port-block", "64"];
    let told = ["65536 addresses are inside", "room for 1008 blocks", "more addresses"];
    scene.refuses(&many, ADDRESS, &told);
    scene.untouched();
}
