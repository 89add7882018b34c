//! A command line taken apart: words, quotes, pipes and redirects.

/// A typed command line: the command, and where its text goes.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Line {
    /// The words before the first pipe or redirect.
    pub words: Vec<String>,
    /// What stands after each `|`, in order.
    pub pipes: Vec<String>,
    /// The file after `>` or `>>`, and whether it is appended to.
    pub redirect: Option<(String, bool)>,
}

/// Takes a command line apart; the complaint says which quote is open.
pub fn split(line: &str) -> Result<Line, String> {
    let (command, rest) = until_operator(line, true)?;
    let mut parts = Line { words: words(command)?, ..Line::default() };
    let mut rest = rest;
    while let Some(after) = rest.strip_prefix('|') {
        let (filter, then) = until_operator(after, false)?;
        if filter.trim().is_empty() {
            return Err("a command is missing after |".into());
        }
        parts.pipes.push(filter.trim().into());
        rest = then;
    }
    if let Some(after) = rest.strip_prefix('>') {
        let append = after.starts_with('>');
        let file = words(after.trim_start_matches('>'))?;
        match file.as_slice() {
            [file] => parts.redirect = Some((file.clone(), append)),
            [] => return Err("a file is missing after >".into()),
            _ => return Err("one file is expected after >".into()),
        }
    }
    Ok(parts)
}

/// The text up to a pipe or redirect outside of quotes, and the rest from there.
fn until_operator(text: &str, masks: bool) -> Result<(&str, &str), String> {
    let mut quote = None;
    let mut escaped = false;
    for (at, c) in text.char_indices() {
        match (quote, c) {
            _ if escaped => escaped = false,
            (None | Some('"'), '\\') => escaped = true,
            (Some(open), c) if c == open => quote = None,
            (Some(_), _) => {}
            (None, '"' | '\'') => quote = Some(c),
            (None, '|') if masks && is_mask(text, at) => {}
            (None, '|' | '>') => return Ok((&text[..at], &text[at..])),
            (None, _) => {}
        }
    }
    match quote {
        Some(open) => Err(format!("the quote {open} is not closed")),
        None => Ok((text, "")),
    }
}

/// Where a half-typed command line stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Part {
    /// In the command itself.
    Command,
    /// In what stands after a pipe.
    Filter,
    /// In the file after `>` or `>>`.
    File,
}

/// The part a half-typed line ends in, and where that part begins.
pub fn last_part(line: &str) -> (Part, usize) {
    let (mut part, mut start) = (Part::Command, 0);
    // An open quote is no complaint here: it is being typed.
    while let Ok((before, rest)) = until_operator(&line[start..], part == Part::Command) {
        let operator = rest.len() - rest.trim_start_matches(['|', '>']).len();
        if operator == 0 {
            break;
        }
        part = if rest.starts_with('|') { Part::Filter } else { Part::File };
        start += before.len() + operator;
    }
    (part, start)
}

/// `GFP_KERNEL|__GFP_ZERO` is one word.
fn is_mask(text: &str, at: usize) -> bool {
    let word = |c: char| c.is_ascii_uppercase() || c == '_' || c.is_ascii_digit();
    text[..at].ends_with(word) && text[at + 1..].starts_with(|c: char| c.is_ascii_uppercase() || c == '_')
}

/// The words of a text; quotes keep spaces together.
pub fn words(text: &str) -> Result<Vec<String>, String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match (quote, c) {
            (None | Some('"'), '\\') => word.get_or_insert_default().extend(chars.next()),
            (Some(open), c) if c == open => quote = None,
            (Some(_), c) => word.get_or_insert_default().push(c),
            (None, '"' | '\'') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (None, c) if c.is_whitespace() => words.extend(word.take()),
            (None, c) => word.get_or_insert_default().push(c),
        }
    }
    if let Some(open) = quote {
        return Err(format!("the quote {open} is not closed"));
    }
    words.extend(word);
    Ok(words)
}

/// A word as an argument of a script's call: numbers are ints, the rest strings.
pub fn argument(word: &str) -> String {
    let digits = word.strip_prefix('-').unwrap_or(word);
    let decimal =
        !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()) && word.parse::<i64>().is_ok();
    let hex = digits
        .strip_prefix("0x")
        .is_some_and(|h| (1..=16).contains(&h.len()) && h.bytes().all(|b| b.is_ascii_hexdigit()));
    if decimal || hex { word.to_string() } else { quoted(word) }
}

/// A string literal of the language.
pub fn quoted(text: &str) -> String {
    let mut literal = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => literal.extend(['\\', c]),
            '\n' => literal.push_str("\\n"),
            '\t' => literal.push_str("\\t"),
            '\r' => literal.push_str("\\r"),
            c => literal.push(c),
        }
    }
    literal.push('"');
    literal
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pipes_and_redirects_are_found_outside_of_quotes() {
        let line = split("kmem -s | grep 'a|b' | head -3 > out.txt").unwrap();
        assert_eq!(line.words, ["kmem", "-s"]);
        assert_eq!(line.pipes, ["grep 'a|b'", "head -3"]);
        assert_eq!(line.redirect, Some(("out.txt".into(), false)));
        assert_eq!(split("kmem -i|grep FREE").unwrap().pipes, ["grep FREE"]);
        assert_eq!(split("gfp GFP_KERNEL|__GFP_ZERO").unwrap().words, ["gfp", "GFP_KERNEL|__GFP_ZERO"]);
        assert_eq!(split("log >> x").unwrap().redirect, Some(("x".into(), true)));
        assert!(split("kmem 'a").unwrap_err().contains("not closed"));
        assert!(split("kmem |").is_err() && split("kmem >").is_err());
    }

    #[test]
    fn a_half_typed_line_ends_in_one_of_its_parts() {
        assert_eq!(last_part("kmem -"), (Part::Command, 0));
        assert_eq!(last_part("kmem -i | gr"), (Part::Filter, 9));
        assert_eq!(last_part("echo 1 > /pr"), (Part::File, 8));
        assert_eq!(last_part("echo 1 >> /pr"), (Part::File, 9));
        assert_eq!(last_part("gfp GFP_KERNEL|__"), (Part::Command, 0));
        assert_eq!(last_part("echo 'a | b"), (Part::Command, 0));
    }

    #[test]
    fn words_become_arguments() {
        let of = |word| argument(word);
        assert_eq!([of("7"), of("-3"), of("0x1f"), of("buddy")], ["7", "-3", "0x1f", "\"buddy\""]);
        assert_eq!(of("a\"b\\"), r#""a\"b\\""#);
        assert_eq!(of("99999999999999999999"), "\"99999999999999999999\"");
        assert_eq!(words(r#"a "b c" d\ e ''"#).unwrap(), ["a", "b c", "d e", ""]);
    }
}
