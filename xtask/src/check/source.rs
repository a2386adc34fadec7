//! Rust source with everything that is not code blanked out, so that a rule about code is not
//! broken by a comment or a message that speaks of it.

/// The text with comments and the contents of literals replaced by spaces; lines stay where they
/// are.
pub(crate) fn code_of(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let length = literal_or_comment(rest, &code);
        let taken = if length == 0 { first.len_utf8() } else { length };
        let (part, after) = rest.split_at(taken);
        if length == 0 {
            code.push(first);
        } else {
            code.extend(part.chars().map(|c| if c == '\n' { '\n' } else { ' ' }));
        }
        rest = after;
    }
    code
}

/// The length of the comment or literal that `rest` begins with, 0 if it begins with code.
fn literal_or_comment(rest: &str, before: &str) -> usize {
    if rest.starts_with("//") {
        return rest.find('\n').unwrap_or(rest.len());
    }
    if rest.starts_with("/*") {
        return block_comment(rest);
    }
    if let Some(inside) = rest.strip_prefix('"') {
        return 1 + closing_quote(inside, '"');
    }
    let in_word = before.ends_with(|c: char| c != 'b' && (c.is_alphanumeric() || c == '_'));
    if rest.starts_with('r') && !in_word {
        return raw_string(rest);
    }
    if rest.starts_with('\'') {
        return character(rest);
    }
    0
}

fn block_comment(rest: &str) -> usize {
    let (mut depth, mut at) = (0_usize, 0);
    while at < rest.len() {
        if rest[at..].starts_with("/*") {
            (depth, at) = (depth + 1, at + 2);
        } else if rest[at..].starts_with("*/") {
            (depth, at) = (depth - 1, at + 2);
            if depth == 0 {
                return at;
            }
        } else {
            at += rest[at..].chars().next().map_or(1, char::len_utf8);
        }
    }
    rest.len()
}

/// The length up to and including the closing quote, skipping what a backslash protects.
fn closing_quote(rest: &str, quote: char) -> usize {
    let mut protected = false;
    for (at, c) in rest.char_indices() {
        if c == quote && !protected {
            return at + c.len_utf8();
        }
        protected = c == '\\' && !protected;
    }
    rest.len()
}

fn raw_string(rest: &str) -> usize {
    let hashes = rest[1..].len() - rest[1..].trim_start_matches('#').len();
    let start = 1 + hashes;
    if !rest[start..].starts_with('"') {
        return 0;
    }
    let end = format!("\"{}", "#".repeat(hashes));
    rest[start + 1..].find(&end).map_or(rest.len(), |at| start + 1 + at + end.len())
}

/// A character literal; a lifetime is code.
fn character(rest: &str) -> usize {
    let mut inside = rest[1..].chars();
    match (inside.next(), inside.next()) {
        (Some('\\'), _) => 1 + closing_quote(&rest[1..], '\''),
        (Some(c), Some('\'')) => 2 + c.len_utf8(),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::code_of;

    #[track_caller]
    fn code(text: &str, want: &str) {
        let got = code_of(text);
        assert_eq!(got.split_whitespace().collect::<Vec<_>>().join(" "), want);
        assert_eq!(got.lines().count(), text.lines().count());
    }

    #[test]
    fn comments_are_not_code() {
        code("let a; // unsafe\nlet b;", "let a; let b;");
        code("a /* x /* unsafe */ y */ b", "a b");
        code("/// unsafe\nfn f() {}", "fn f() {}");
    }

    #[test]
    fn contents_of_literals_are_not_code() {
        code(r#"say("unsafe \" unsafe", 1)"#, "say( , 1)");
        code("say(r#\"unsafe \" \"#, br\"x\")", "say( , b )");
        code(r"match c { '\'' => 1, '\\' => 2, 'é' => 3 }", "match c { => 1, => 2, => 3 }");
    }

    #[test]
    fn lifetimes_and_names_are_code() {
        code("fn f<'a>(r: &'a str) -> &'a str { r }", "fn f<'a>(r: &'a str) -> &'a str { r }");
        code("let var = \"\"; after", "let var = ; after");
    }
}
