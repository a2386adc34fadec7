//! Links in the Markdown pages to files of this repository.

use std::fs;
use std::path::Path;

use anyhow::Result;

use super::house::files;

/// Every relative link that leads nowhere.
pub(crate) fn dead(root: &Path) -> Result<Vec<String>> {
    let mut faults = Vec::new();
    for page in files(root, "md")? {
        let dir = page.parent().unwrap_or(root);
        let name = page.strip_prefix(root).unwrap_or(&page).display().to_string();
        let text = fs::read_to_string(&page)?;
        for (number, line) in text.lines().enumerate() {
            let dead = targets(line).filter(|target| !dir.join(target).exists());
            faults.extend(dead.map(|t| format!("{name}:{}: no file `{t}` to link to", number + 1)));
        }
    }
    Ok(faults)
}

/// The files that a line links to; addresses and places within the same page are left out.
fn targets(line: &str) -> impl Iterator<Item = &str> {
    let links = line.split("](").skip(1).filter_map(|rest| rest.split_once(')'));
    links.filter_map(|(target, _)| {
        let file = target.split(['#', ' ']).next().unwrap_or_default();
        (!file.is_empty() && !file.contains(':')).then_some(file)
    })
}

#[cfg(test)]
mod tests {
    use super::targets;

    #[test]
    fn only_files_are_targets() {
        let line = "[a](b.md#part), [c](https://d.example/e), [f](#g), ![h](i/j.svg)";
        assert_eq!(targets(line).collect::<Vec<_>>(), ["b.md", "i/j.svg"]);
    }
}
