//! What a NAT must do, a test for each line of it, named after where it is written.
//!
//! The requirements and their probes are in [`vnet_tests::conformance`]; CONFORMANCE.md is the
//! table of what they show. A test fails when vnet does not hold its requirement, when vnet holds
//! one that is marked as pending, and when CONFORMANCE.md says something else of vnet.

use std::collections::BTreeSet;

use vnet_tests::conformance::{Translator, all, named, table};

const PAGE: &str = include_str!("../../../CONFORMANCE.md");

macro_rules! tests {
    ($($test:ident)*) => {
        $(
            #[test]
            fn $test() {
                judge(stringify!($test));
            }
        )*

        /// Every test there is.
        const TESTS: &[&str] = &[$(stringify!($test)),*];
    };
}

tests! {
    rfc4787_req1_endpoint_independent_mapping
    rfc5382_req1_endpoint_independent_mapping
    rfc5508_req1a_endpoint_independent_query_id
    rfc5508_req1_queries_and_answers
    rfc4787_req11_deterministic_when_touched_from_outside
    rfc4787_req11_deterministic_under_load
    rfc4787_req3_no_port_overloading
    rfc5382_req7_no_port_overloading
    rfc7857_5_protocols_are_independent
    rfc4787_req10_payload_is_untouched
    rfc4787_4_2_1_port_is_preserved
    rfc4787_req3a_low_ports_stay_low
    rfc4787_req4_port_parity
    rfc6888_req15_ports_are_hard_to_guess
    rfc4787_4_2_2_port_range
    rfc6888_req13_every_port_is_used
    rfc6888_req11a_refused_when_exhausted
    rfc6888_req11d_existing_mappings_stay
    rfc5508_req8_refusal_is_told
    rfc1812_4_3_2_8_refusals_are_rate_limited
    rfc6888_req11c_refusals_are_counted
    rfc6888_req4_ports_per_host_are_limited
    rfc7422_port_blocks
    rfc6888_req2_paired_pooling
    rfc6888_req3_any_addresses_make_a_pool
    rfc6888_req6_destinations_left_alone
    rfc6888_req5_connections_per_host_are_limited
    nat_settings_change_while_flows_live
    nat_address_change_moves_mappings
    nat_flood_spares_connections
    nat_flood_leaves_room_for_others
    rfc4787_req5_udp_at_least_two_minutes
    rfc4787_req5c_udp_five_minutes
    rfc5382_req5_established_two_hours_four_minutes
    rfc5382_req5_transitory_four_minutes
    rfc5508_req2_query_sixty_seconds
    rfc4787_req5b_timeouts_are_settings
    rfc4787_req6_outbound_refresh
    rfc4787_req6_inbound_refresh
    rfc4787_req6a_inbound_refresh_can_be_off
    rfc7857_7_1_errors_do_not_refresh
    rfc7857_2_2_reset_keeps_the_state_a_while
    rfc7857_2_2_traffic_after_a_reset
    rfc5961_3_reset_out_of_window
    rfc6888_req8_port_rests
    rfc6888_req8_rest_ends_when_ports_are_scarce
    rfc4787_5_nothing_unsolicited_by_default
    rfc4787_req8_endpoint_independent_filtering
    rfc4787_req8_address_dependent_filtering
    rfc4787_req8a_filtering_can_be_chosen
    rfc5382_req3_endpoint_independent_filtering
    rfc5128_3_3_udp_hole_punching
    rfc5128_3_3_hole_punching_whatever_the_filter
    rfc5382_req2_tcp_handshake
    rfc5382_req2_half_closed_and_opened_again
    rfc5382_req2a_simultaneous_open
    rfc5382_req4_unsolicited_syn
    rfc5382_req4_syn_crossed_by_our_own
    rfc5382_req4_port_unreachable_after_six_seconds
    rfc1122_4_1_3_1_host_answers_for_itself
    cve_2021_3773_no_shadowing_of_services
    rfc4787_req3_host_and_inside_do_not_collide
    nat_no_state_from_outside
    rfc4787_req9_hairpin_other_device
    rfc4787_req9_hairpin_same_device
    rfc4787_req9_hairpin_external_source
    rfc5382_req8_hairpin
    rfc5508_req7_hairpinned_errors
    rfc4787_req9_hairpin_whoever_is_inside
    nat_forward_reaches_the_server_inside
    nat_forward_of_a_range
    rfc4787_req9_hairpin_to_a_forward
    nat_forward_reached_by_the_router_itself
    nat_forward_reached_by_localhost
    nat_forward_clash_is_refused
    nat_forward_change_moves_running_senders
    rfc5508_req3_wrong_checksum_is_dropped
    rfc5508_req3a_wrong_quoted_header_is_dropped
    rfc5508_req3b_quoted_options
    rfc5508_req3c_quoted_transport_checksum_is_not_judged
    rfc5508_req3d_extensions
    rfc5508_req4_error_from_outside_about_nothing
    rfc5508_req4a_quote_is_translated_back
    rfc5508_req4b_kinds_from_outside
    rfc5508_req4c_receiver_is_the_quoted_sender
    rfc4787_req12a_any_router_may_send_errors
    rfc5508_req5_error_from_inside_about_nothing
    rfc5508_req5a_quote_is_translated
    rfc5508_req5b_kinds_from_inside
    rfc5508_req5c_sender_is_our_address
    rfc5508_req6_errors_end_nothing
    rfc5508_req6_errors_refresh_nothing
    rfc4787_req13_too_big_from_inside_is_told
    rfc1191_too_big_from_outside_is_told
    rfc1812_5_3_1_router_is_a_hop
    rfc4787_req14_fragments_in_order
    rfc4787_req14_fragments_out_of_order
    rfc4787_req14_fragments_of_tcp_and_icmp
    rfc6864_5_3_equal_ids_do_not_mix
    rfc4787_req14a_fragment_floods_are_bounded
    rfc1858_overlapping_fragments_are_refused
    rfc1858_tiny_fragments_are_refused
    rfc4787_req13_too_big_is_cut
    rfc3022_4_1_absent_udp_checksum_stays_absent
    rfc768_computed_zero_is_sent_as_ones
    rfc3022_4_2_checksums_are_right
    rfc1812_5_3_1_ttl_goes_down_by_one
    rfc2474_dscp_and_ecn_survive
    rfc7857_10_ip_id_survives
    nat_unknown_protocols_by_address
    nat_unknown_protocols_do_not_mix
    rfc1918_nothing_leaves_with_an_inside_source
    rfc1918_recorded_routes_show_nobody_inside
    rfc919_multicast_and_broadcast_stay
    nat_uplink_without_a_mac_header
    nat_uplink_macvlan
    nat_several_uplinks
    nat_ipv6_is_left_alone
    nat66_endpoint_independent_mapping
    nat66_errors_and_extension_headers
    nat66_fragments
    nat66_hairpin_external_source
    rfc6296_3_1_checksum_neutral
    rfc6296_3_2_both_directions_without_state
    rfc6296_3_errors
    rfc6296_5_1_hairpin
    rfc6888_4_mappings_are_logged
    rfc6888_req12_destinations_are_not_logged
    rfc6888_req14_blocks_are_logged_not_ports
}

/// Runs the probe on vnet.
#[track_caller]
fn judge(test: &str) {
    let requirement = named(test);
    let seen = requirement.measure(Translator::Vnet);
    match (&seen, requirement.pending) {
        (Ok(()), Some(why)) => {
            panic!("this holds now: it is no longer pending because \"{why}\". Take the mark off")
        }
        (Err(miss), None) => panic!("{}\n{miss:?}", requirement.says),
        (Ok(()), None) | (Err(_), Some(_)) => {}
    }
    let said = table::read(PAGE).remove(test).map(|verdicts| verdicts.vnet);
    let measured = requirement.verdict_of_vnet(&seen);
    assert_eq!(said, Some(measured), "CONFORMANCE.md: run `cargo xtask conformance`");
}

#[test]
fn every_requirement_has_its_test() {
    let required: BTreeSet<_> = all().map(|requirement| requirement.test).collect();
    assert_eq!(required.len(), all().count(), "two requirements name one test");
    assert_eq!(TESTS.iter().copied().collect::<BTreeSet<_>>(), required);
}

#[test]
fn the_page_is_what_the_command_writes() {
    let rows = table::read(PAGE);
    let written = rows.keys().map(String::as_str).collect::<BTreeSet<_>>();
    let required = all().map(|requirement| requirement.test).collect::<BTreeSet<_>>();
    assert_eq!(written, required, "CONFORMANCE.md: run `cargo xtask conformance`");
    assert!(table::page(&rows) == PAGE, "CONFORMANCE.md: run `cargo xtask conformance`");
}
