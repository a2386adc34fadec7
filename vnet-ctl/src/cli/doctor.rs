//! `vnetctl doctor`

use serde::Serialize;

use super::output::Output;
use super::table::{Align, table};
use crate::doctor::{Check, Verdict, examine};
use crate::exit::Exit;
use crate::reconcile::Error;

/// Check whether this machine can do what vnet needs, and what stands in the way
///
/// Ends with 0 when no check fails; warnings do not count as failures.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  vnetctl doctor\n  vnetctl -j -p doctor")]
pub(super) struct Args {}

#[derive(Serialize)]
struct Answer<'a> {
    verdict: Verdict,
    checks: &'a [Check],
}

pub(super) async fn run(_args: &Args, output: &Output) -> Result<Exit, Error> {
    let checks = examine().await?;
    let verdict = checks.iter().map(|check| check.verdict).max().unwrap_or(Verdict::Ok);
    output.print(&Answer { verdict, checks: &checks }, || text(&checks))?;
    Ok(match verdict {
        Verdict::Ok | Verdict::Warn => Exit::Ok,
        Verdict::Fail if checks.len() == 1 => Exit::Permission,
        Verdict::Fail => Exit::Unsupported,
    })
}

const COLUMNS: [(&str, Align); 3] =
    [("check", Align::Left), ("", Align::Left), ("found", Align::Left)];

fn text(checks: &[Check]) -> String {
    let rows = checks.iter().map(|check| {
        let verdict = match check.verdict {
            Verdict::Ok => "ok",
            Verdict::Warn => "WARN",
            Verdict::Fail => "FAIL",
        };
        vec![check.name.clone(), verdict.to_owned(), check.found.clone()]
    });
    let mut text = table(&COLUMNS, &rows.collect::<Vec<_>>());
    let advice = checks.iter().filter_map(|check| Some((&check.name, check.advice.as_ref()?)));
    for (name, advice) in advice {
        text.push_str(&format!("\n{name}: {advice}\n"));
    }
    text
}
