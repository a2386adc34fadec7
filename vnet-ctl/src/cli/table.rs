//! Text in columns.

/// How a column is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Align {
    /// Words.
    Left,
    /// Numbers.
    Right,
}

/// A table with a line of headings.
pub(super) fn table(columns: &[(&str, Align)], rows: &[Vec<String>]) -> String {
    let width = |at: usize| {
        let cells = rows.iter().map(|row| row[at].chars().count());
        cells.chain([columns[at].0.chars().count()]).max().unwrap_or(0)
    };
    let widths: Vec<_> = (0..columns.len()).map(width).collect();
    let heading: Vec<_> = columns.iter().map(|(name, _)| (*name).to_owned()).collect();
    let mut text = String::new();
    for row in std::iter::once(&heading).chain(rows) {
        let cells = row.iter().zip(columns).zip(&widths);
        let cells = cells.map(|((cell, (_, align)), width)| match align {
            Align::Left => format!("{cell:<width$}"),
            Align::Right => format!("{cell:>width$}"),
        });
        let line: Vec<_> = cells.collect();
        text.push_str(line.join("  ").trim_end());
        text.push('\n');
    }
    text
}

/// A table some of whose columns, by number, are shown only when it is said so.
pub(super) fn with(
    optional: &[(usize, bool)],
    columns: &[(&str, Align)],
    mut rows: Vec<Vec<String>>,
) -> String {
    let mut columns = columns.to_vec();
    // From the last to the first, so that those that are left keep their numbers.
    for (at, _) in optional.iter().rev().filter(|(_, shown)| !shown) {
        columns.remove(*at);
        rows.iter_mut().for_each(|row| drop(row.remove(*at)));
    }
    table(&columns, &rows)
}

/// Whether rows belong to more than one instance: only then is a column needed that names it.
pub(super) fn several<'a>(instances: impl IntoIterator<Item = &'a str>) -> bool {
    let mut instances = instances.into_iter();
    let first = instances.next();
    instances.any(|other| Some(other) != first)
}

/// A number of seconds as people say it.
pub(super) fn duration(seconds: f64) -> String {
    let whole = seconds.max(0.0);
    if whole < 60.0 {
        format!("{whole:.1}s")
    } else if whole < 3600.0 {
        format!("{:.0}m{:02.0}s", (whole / 60.0).floor(), (whole % 60.0).floor())
    } else {
        format!("{:.0}h{:02.0}m", (whole / 3600.0).floor(), (whole % 3600.0 / 60.0).floor())
    }
}

/// A number with its thousands apart, as people read it.
pub(super) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up() {
        let rows = [vec!["a".to_owned(), "1".to_owned()], vec!["bbbb".to_owned(), "22".to_owned()]];
        let text = table(&[("name", Align::Left), ("n", Align::Right)], &rows);
        assert_eq!(text, "name   n\na      1\nbbbb  22\n");
    }

    #[test]
    fn columns_can_be_left_out() {
        let columns = [("a", Align::Left), ("b", Align::Left), ("c", Align::Left)];
        let rows = vec![vec!["1".to_owned(), "2".to_owned(), "3".to_owned()]];
        assert_eq!(with(&[(0, false), (2, false)], &columns, rows.clone()), "b\n2\n");
        assert_eq!(with(&[(0, true), (1, false)], &columns, rows), "a  c\n1  3\n");
        assert!(several(["lab", "lab", "two"]) && !several(["lab", "lab"]) && !several([]));
    }

    #[test]
    fn durations_and_numbers() {
        assert_eq!(duration(1.25), "1.2s");
        assert_eq!(duration(61.0), "1m01s");
        assert_eq!(duration(7440.0), "2h04m");
        assert_eq!(grouped(0), "0");
        assert_eq!(grouped(1234567), "1,234,567");
    }
}
