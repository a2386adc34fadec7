//! Tests that cannot run here say so, by name, and are counted.
//!
//! Kernels differ in what they can do. A test that needs what is missing calls [`crate::skip!`]: it prints
//! one line past the test runner's capture, and appends the same line to the file `$VNET_SKIPPED`
//! names, which is where `cargo xtask test` counts them. With `VNET_NO_SKIP=1` a skip is a failure.

use std::fs::OpenOptions;
use std::io::Write as _;

/// Ends the test here: it cannot run on this machine, and this is why.
///
/// ```no_run
/// # fn kernel_has(_: &str) -> bool { true }
/// fn shaping_holds_its_rate() {
///     if !kernel_has("tbf") {
///         vnet_tests::skip!("this kernel has no tbf");
///     }
/// }
/// ```
#[macro_export]
macro_rules! skip {
    ($($why:tt)+) => {{
        fn here() {}
        $crate::skip::record(::std::any::type_name_of_val(&here), &::std::format!($($why)+));
        return;
    }};
}

/// Notes that the function around `marker` was skipped; [`crate::skip!`] calls this.
///
/// # Panics
/// With `VNET_NO_SKIP=1`, where nothing may be skipped.
pub fn record(marker: &str, why: &str) {
    let line = line(marker, why);
    assert!(std::env::var_os("VNET_NO_SKIP").is_none_or(|set| set != "1"), "{line}");
    // Written to the stream itself: what the print macros write is hidden when a test passes.
    let _ = writeln!(std::io::stderr(), "{line}");
    let Some(path) = std::env::var_os("VNET_SKIPPED") else { return };
    let file = OpenOptions::new().create(true).append(true).open(&path);
    let written = file.and_then(|mut file| file.write_all(format!("{line}\n").as_bytes()));
    written.unwrap_or_else(|e| panic!("cannot write to $VNET_SKIPPED ({path:?}): {e}"));
}

fn line(marker: &str, why: &str) -> String {
    let name = marker.strip_suffix("::here").unwrap_or(marker);
    format!("SKIPPED {name}: {why}")
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_skip_names_its_test() {
        assert_eq!(
            super::line("stories::udp::works::here", "no veth"),
            "SKIPPED stories::udp::works: no veth"
        );
    }
}
