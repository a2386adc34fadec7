//! The results as text.

use std::fmt::Write as _;

use super::summary::{Measure, Report, Standing};

/// The table: a paragraph per measure, a line per contender.
pub(crate) fn of(report: &Report) -> String {
    let mut text = String::new();
    for measure in &report.measures {
        text += &paragraph(measure);
    }
    let rounds = report.rounds;
    text += "\n\"2.00x nft\" is twice as good as nftables, whatever is measured; \"0.90x tc\" is nine \
             tenths of\nwhat a program that only redirects reaches at traffic control (\"xdp\": by XDP).\n";
    if rounds > 1 {
        text += &format!(
            "Medians of {rounds} rounds; spread: from the smallest value to the largest.\n"
        );
    }
    if report.quick {
        text += "These samples were short (--quick): they show that it works, not how fast.\n";
    }
    text
}

fn paragraph(measure: &Measure) -> String {
    let better = if measure.more_is_better { "more" } else { "less" };
    let mut text = format!("\n{} ({}, {better} is better)\n", measure.title, measure.unit);
    for standing in &measure.contenders {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{}", line(standing));
    }
    text
}

fn line(standing: &Standing) -> String {
    let times = standing.times_nft.map_or(String::new(), |times| format!("{times:.2}x nft"));
    let limit = standing.times_tc.map_or(String::new(), |times| format!("{times:.2}x tc"));
    let early = standing.times_xdp.map_or(String::new(), |times| format!("{times:.2}x xdp"));
    let (title, value) = (&standing.title, number(standing.median));
    let spread = spread(standing).unwrap_or_default();
    format!("  {title:<22}{value:>10}{times:>12}{limit:>11}{early:>11}   {spread}")
        .trim_end()
        .to_owned()
}

/// How far the values lie apart, if there are several.
pub(super) fn spread(standing: &Standing) -> Option<String> {
    let several = standing.values.len() > 1;
    several.then(|| format!("spread {:.0} %", standing.spread_percent))
}

/// A number with as many digits as tell something.
pub(super) fn number(value: f64) -> String {
    match value {
        large if large >= 100.0 => format!("{large:.0}"),
        middle if middle >= 10.0 => format!("{middle:.1}"),
        small => format!("{small:.2}"),
    }
}

#[cfg(test)]
mod tests {
    use super::number;

    #[test]
    fn digits_that_tell_nothing_are_left_out() {
        assert_eq!([1234.56, 12.345, 1.2345].map(number), ["1235", "12.3", "1.23"]);
    }
}
