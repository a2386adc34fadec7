//! How long a test waits for what should come: longer where everything is slow, as in an emulated guest.
//!
//! What is built for guests is built with `VNET_PATIENCE`, so that limits stay constants.

use std::time::Duration;

/// How many times as long as on the machine itself.
pub const FACTOR: u32 = match option_env!("VNET_PATIENCE") {
    Some(digits) => number(digits.as_bytes()),
    None => 1,
};

/// So many seconds, or more where everything is slow.
#[must_use]
pub const fn seconds(seconds: u32) -> Duration {
    Duration::from_secs((seconds * FACTOR) as u64)
}

/// A number of one digit.
const fn number(digits: &[u8]) -> u32 {
    assert!(digits.len() == 1 && digits[0] > b'0' && digits[0] <= b'9', "VNET_PATIENCE is 1 to 9");
    (digits[0] - b'0') as u32
}
