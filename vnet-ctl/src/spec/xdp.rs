//! The word for `--xdp`.

use serde::Serialize;
use vnet_common::policy::xdp_wish;

use crate::fault::Fault;

/// Whether and how devices have an XDP program.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[repr(u32)]
pub enum Xdp {
    /// No device has.
    #[default]
    Off = xdp_wish::OFF,
    /// Those have whose drivers run it, where that is known to be good.
    Auto = xdp_wish::AUTO,
    /// Those have whose drivers run it.
    Native = xdp_wish::NATIVE,
    /// Every Ethernet device has, and the kernel runs it.
    Generic = xdp_wish::GENERIC,
}

impl Xdp {
    /// Every word.
    pub const ALL: [Self; 4] = [Self::Off, Self::Auto, Self::Native, Self::Generic];

    /// The word.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Auto => "auto",
            Self::Native => "native",
            Self::Generic => "generic",
        }
    }

    /// The word with this number; an unknown one counts as off.
    #[must_use]
    pub fn from_number(number: u32) -> Self {
        Self::ALL.into_iter().find(|word| *word as u32 == number).unwrap_or_default()
    }

    /// Reads the word.
    ///
    /// # Errors
    /// When it is none.
    pub fn parse(typed: &str) -> Result<Self, Fault> {
        let found = Self::ALL.into_iter().find(|word| word.name() == typed);
        found.ok_or_else(|| Fault::Word {
            option: "--xdp",
            given: typed.to_owned(),
            hint: "take auto, native, generic or off",
        })
    }
}
