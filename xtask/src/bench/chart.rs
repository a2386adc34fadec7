//! The results as a picture (SVG): a bar for how many times as good as nftables each contender is.

use std::fmt::Write as _;

use super::summary::{Measure, Report, Standing};
use super::table::{number, spread};

const WIDTH: u32 = 940;
const MARGIN: u32 = 20;
/// Where the bars begin, and how long one is that is as good as nftables.
const BARS: u32 = 190;
const ONCE: f64 = 70.0;
/// Longer bars are cut: a plain cable is no router, and would push everything else aside.
const LONGEST: f64 = 7.5;
const BAR: u32 = 16;
const LINE: u32 = 20;
const TITLE: u32 = 34;
const TOP: u32 = 70;

const STYLE: &str = "text{font:13px system-ui,sans-serif;fill:#222}\
.head{font-size:18px;font-weight:600}.title{font-weight:600}.faint{fill:#666}\
.bar{fill:#9aa5b1}.nft{fill:#c8a45c}.vnet{fill:#2f7d5b}.once{stroke:#c8a45c;stroke-dasharray:3 3}\
rect.paper{fill:#fff}";

/// Draws it.
pub(crate) fn of(report: &Report) -> String {
    let lines: usize = report.measures.iter().map(|m| m.contenders.len()).sum();
    let lines = u32::try_from(lines).unwrap_or(u32::MAX / LINE);
    let titles = u32::try_from(report.measures.len()).unwrap_or(0);
    let height = TOP + titles * TITLE + lines * LINE + MARGIN;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{height}\" \
         viewBox=\"0 0 {WIDTH} {height}\">\n<style>{STYLE}</style>\n\
         <rect class=\"paper\" width=\"100%\" height=\"100%\"/>\n"
    );
    text(
        &mut svg,
        (MARGIN, 28),
        "head",
        "How many times as good as nftables masquerade: longer is better",
    );
    text(&mut svg, (MARGIN, 48), "faint", &format!("{}", report.machine));
    let mut y = TOP;
    for measure in &report.measures {
        y = draw(&mut svg, measure, y);
    }
    svg + "</svg>\n"
}

fn draw(svg: &mut String, measure: &Measure, top: u32) -> u32 {
    let better = if measure.more_is_better { "more" } else { "less" };
    let title = format!("{} ({}, {better} is better)", measure.title, measure.unit);
    text(svg, (MARGIN, top + 16), "title", &title);
    let first = top + TITLE - 10;
    let lines = u32::try_from(measure.contenders.len()).unwrap_or(0);
    let (x, last) = (f64::from(BARS) + ONCE, first + lines * LINE);
    // Writing to a string cannot fail.
    let _ = writeln!(svg, r#"<path class="once" d="M{x} {first}V{}"/>"#, last - (LINE - BAR));
    for (standing, y) in measure.contenders.iter().zip((first..).step_by(LINE as usize)) {
        bar(svg, standing, y);
    }
    last + 10
}

fn bar(svg: &mut String, standing: &Standing, y: u32) {
    // Where nftables has no turn, the limit of redirecting at traffic control stands in for it.
    let (ratio, unit) = match (standing.times_nft, standing.times_tc) {
        (None, Some(times)) => (Some(times), "x tc"),
        (times, _) => (times, "x"),
    };
    let times = ratio.unwrap_or(0.0);
    let length = times.min(LONGEST) * ONCE;
    let class = match standing.contender.as_str() {
        "nft" => "nft",
        "vnet" | "vnet-xdp" => "vnet",
        _ => "bar",
    };
    text(svg, (MARGIN + 12, y + 13), "", &standing.title);
    let _ = writeln!(
        svg,
        r#"<rect class="{class}" x="{BARS}" y="{y}" width="{length:.1}" height="{BAR}"/>"#
    );
    let cut = if times > LONGEST { "» " } else { "" };
    let ratio = ratio.map_or(String::new(), |times| format!("{times:.2}{unit} · "));
    let value = number(standing.median);
    let spread = spread(standing).map_or(String::new(), |spread| format!(" · {spread}"));
    let words = format!("{cut}{ratio}{value}{spread}");
    let x = f64::from(BARS) + length + 8.0;
    text(svg, (x as u32, y + 13), "faint", &words);
}

fn text(svg: &mut String, (x, y): (u32, u32), class: &str, words: &str) {
    let words = words.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    let _ = writeln!(svg, r#"<text class="{class}" x="{x}" y="{y}">{words}</text>"#);
}
