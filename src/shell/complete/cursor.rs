//! Where the cursor stands in a half-typed line of the language: in which call, at which argument, in a string or not.

/// A call whose parenthesis is open.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Call<'a> {
    /// What is called.
    pub name: &'a str,
    /// It stands after a dot: what is before the dot is the first argument.
    pub method: bool,
    /// The argument that is being typed, from 0; a method's own object is not counted.
    pub argument: usize,
    /// What of that argument is typed already.
    pub typed: &'a str,
}

/// What surrounds the end of a line.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Cursor<'a> {
    /// The innermost open call.
    pub call: Option<Call<'a>>,
    /// Where the string begins that is open, after its quote.
    pub string: Option<usize>,
}

/// An open bracket: where it stands, how many commas followed, where the last of them ended.
struct Open {
    at: usize,
    is_call: bool,
    commas: usize,
    argument: usize,
}

/// Finds what surrounds the end of a line.
pub fn cursor(line: &str) -> Cursor<'_> {
    let mut open: Vec<Open> = Vec::new();
    let mut quote: Option<(char, usize)> = None;
    let mut escaped = false;
    for (at, c) in line.char_indices() {
        let next = at + c.len_utf8();
        match (quote, c) {
            _ if escaped => escaped = false,
            (Some(('"' | '\'', _)), '\\') => escaped = true,
            (Some((mark, _)), c) if c == mark => quote = None,
            (Some(_), _) => {}
            (None, '"' | '`' | '\'') => quote = Some((c, next)),
            (None, '(' | '[' | '{') => {
                let is_call = c == '(' && line[..at].ends_with(is_word);
                open.push(Open { at, is_call, commas: 0, argument: next });
            }
            (None, ')' | ']' | '}') => {
                open.pop();
            }
            (None, ',') => {
                if let Some(innermost) = open.last_mut() {
                    (innermost.commas, innermost.argument) = (innermost.commas + 1, next);
                }
            }
            // What was open at the end of a statement was a mistake, or the body of a block.
            (None, ';') => open.retain(|bracket| line[bracket.at..].starts_with('{')),
            (None, _) => {}
        }
    }
    let call = open.last().filter(|innermost| innermost.is_call).map(|innermost| {
        let start = word_start(&line[..innermost.at]);
        Call {
            name: &line[start..innermost.at],
            method: line[..start].ends_with('.'),
            argument: innermost.commas,
            typed: line[innermost.argument..].trim_start(),
        }
    });
    Cursor { call, string: quote.map(|(_, at)| at) }
}

/// The name of the call that ends here: `zone` of `zone("DMA")`.
pub fn ended_call(text: &str) -> Option<&str> {
    let inside = text.strip_suffix(')')?;
    let mut depth = 0;
    for (at, c) in inside.char_indices().rev() {
        match c {
            ')' => depth += 1,
            '(' if depth > 0 => depth -= 1,
            '(' => return Some(&text[word_start(&text[..at])..at]).filter(|name| !name.is_empty()),
            _ => {}
        }
    }
    None
}

/// Where the word begins that a text ends in.
pub fn word_start(text: &str) -> usize {
    text.rfind(|c: char| !is_word(c)).map_or(0, |at| at + text[at..].chars().next().map_or(1, char::len_utf8))
}

fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_call_and_the_argument_are_found() {
        let of = |line| {
            let found = cursor(line);
            found.call.map(|call| (call.name, call.method, call.argument, call.typed))
        };
        assert_eq!(of("zone("), Some(("zone", false, 0, "")));
        assert_eq!(of("f(g(1, 2), h(\"a, (b\", "), Some(("h", false, 1, "")));
        assert_eq!(of("p.mmap(0, \"64k"), Some(("mmap", true, 1, "\"64k")));
        assert_eq!(of("f([1, 2"), None);
        assert_eq!(of("f(1); "), None);
        assert_eq!(of("for z in zones() { task("), Some(("task", false, 0, "")));
        assert_eq!(of("let é = f('(', "), Some(("f", false, 1, "")));
        assert_eq!(cursor("cat(\"/pr").string, Some(5));
        assert_eq!(cursor("cat(\"a\\\"").string, Some(5));
        assert_eq!(cursor("cat(\"a\"").string, None);
        assert_eq!(ended_call("zone(f(1), \"DMA\")"), Some("zone"));
        assert_eq!(ended_call("zone"), None);
    }
}
