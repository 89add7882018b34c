//! The bracket or quote that was forgotten: the YAML reader often complains of what follows it.
//!
//! Fidelity: not of the kernel — it looks only at what a complaint may come from.

/// What is open or closed once too often: the line and column (both from 1), what is wrong, what to try.
pub fn mistake(text: &str) -> Option<(usize, usize, String, String)> {
    let mut open: Vec<(usize, usize, char)> = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let mut quote: Option<(usize, char)> = None;
        let mut before = ' ';
        for (column, c) in line.chars().enumerate() {
            // A quote or a bracket in the middle of a word is a letter.
            let begins = matches!(before, ' ' | '\t' | '[' | '{' | ',' | ':' | '-');
            match (quote, c) {
                (Some((_, mark)), c) if c == mark && before != '\\' => quote = None,
                (Some(_), _) => {}
                (None, '#') if before.is_whitespace() => break,
                (None, '"' | '\'') if begins => quote = Some((column, c)),
                (None, '[' | '{') if begins => open.push((number + 1, column + 1, c)),
                (None, ']' | '}') => match open.pop() {
                    Some((at, start, opened)) if closing(opened) != c => {
                        let what = format!("{opened} of line {at}, column {start} is closed by {c}");
                        return Some((
                            number + 1,
                            column + 1,
                            what,
                            format!("Write {} here.", closing(opened)),
                        ));
                    }
                    None if before != ' ' || line.trim_start().starts_with(c) => {
                        let what = format!("{c} closes nothing");
                        return Some((
                            number + 1,
                            column + 1,
                            what,
                            "Take it away, or open it before.".into(),
                        ));
                    }
                    _ => {}
                },
                _ => {}
            }
            before = c;
        }
        // A text in quotes may go on in the next line, but in a spec it has no reason to.
        if let Some((column, mark)) = quote {
            let what = format!("the quote {mark} is not closed in its line");
            return Some((number + 1, column + 1, what, format!("Close it with {mark}.")));
        }
    }
    let &(line, column, opened) = open.first()?;
    Some((line, column, format!("{opened} is never closed"), format!("Close it with {}.", closing(opened))))
}

fn closing(opened: char) -> char {
    if opened == '[' { ']' } else { '}' }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_forgotten_is_named() {
        let of = |text| mistake(text).map(|(line, column, what, _)| format!("{line}:{column} {what}"));
        assert_eq!(of("nodes: [512M, 512M\ncpus: 2\n").unwrap(), "1:8 [ is never closed");
        assert_eq!(of("a: {b: [1, 2}\n").unwrap(), "1:13 [ of line 1, column 8 is closed by }");
        assert_eq!(of("nodes: [1, 2]]\n").unwrap(), "1:14 ] closes nothing");
        assert_eq!(of("mem: \"64M\ncpus: 2\n").unwrap(), "1:6 the quote \" is not closed in its line");
        assert_eq!(of("mem: 64M # it's [so\nname: it's\nnodes: [\n  1,\n  2]\n"), None);
        assert_eq!(of(""), None);
    }
}
