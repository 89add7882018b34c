//! Command or Rhai: what makes a typed line a command.
//!
//! A line is a command iff its first word is a command, no variable of that name is in scope, and what follows
//! is the end of the line, `|`, `>`, or a space and then neither one of `= + * / < & . ( [ ;` nor `- `. It runs
//! to the end of the line. A `/` or `.` that begins a path (`cat /proc/meminfo`, `source ./x`) does not count.

/// What a typed line is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Typed<'a> {
    /// Nothing, or a remark.
    Nothing,
    /// A command, from its name to the end of the line.
    Command(&'a str),
    /// A command's name that is a variable here: Rhai, with a note.
    Shadowed(&'a str),
    /// `!ls`: a line for the host's shell.
    Host(&'a str),
    /// `kmem?`: the page of a name.
    Help(&'a str),
    /// Everything else.
    Rhai,
}

/// Decides what a line is.
pub fn classify<'a>(
    line: &'a str,
    is_command: impl Fn(&str) -> bool,
    is_variable: impl Fn(&str) -> bool,
) -> Typed<'a> {
    let text = line.trim();
    if text.is_empty() || text.starts_with("#!") {
        return Typed::Nothing;
    }
    // Shell habits: a remark after `#`; `#{` is a map.
    if text.starts_with('#') && !text.starts_with("#{") {
        return Typed::Nothing;
    }
    if let Some(host) =
        text.strip_prefix('!').filter(|host| host.starts_with(|c: char| c.is_alphabetic() || c == '/'))
    {
        // `!x` is also Rhai's *not*.
        let word = first_word(host).0;
        if !is_variable(word) && !host[word.len()..].starts_with(['(', '.']) {
            return Typed::Host(host);
        }
    }
    if let Some(forced) = text.strip_prefix('%').filter(|forced| is_command(first_word(forced).0)) {
        return Typed::Command(forced);
    }
    if let Some(name) = text.strip_suffix('?').filter(|name| !name.is_empty() && name.chars().all(is_word)) {
        return Typed::Help(name);
    }
    // `page-types` is no name in Rhai, and no difference either while nothing is called `page` or `types`.
    let (dashed, rest) = text.split_at(text.find(|c| !is_word(c) && c != '-').unwrap_or(text.len()));
    if dashed.contains('-') && is_command(dashed) && reads_as_command(rest) {
        let parts = dashed.split('-').any(&is_variable);
        return if parts { Typed::Rhai } else { Typed::Command(text) };
    }
    let (word, rest) = first_word(text);
    if !is_command(word) || !reads_as_command(rest) {
        return Typed::Rhai;
    }
    if is_variable(word) { Typed::Shadowed(word) } else { Typed::Command(text) }
}

/// The first word of a line, and the rest.
pub fn first_word(text: &str) -> (&str, &str) {
    let end = text.find(|c: char| !is_word(c)).unwrap_or(text.len());
    text.split_at(end)
}

fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

fn reads_as_command(rest: &str) -> bool {
    if rest.is_empty() {
        return true;
    }
    if rest.starts_with('|') || rest.starts_with('>') {
        return !rest.starts_with("||") && !rest.starts_with(">=");
    }
    if !rest.starts_with(char::is_whitespace) {
        return false;
    }
    let next = rest.trim_start();
    let path = next.starts_with("./")
        || next.starts_with("../")
        || (next.starts_with('/') && next[1..].starts_with(is_word));
    let operator = next.starts_with(['=', '+', '*', '/', '<', '&', '.', '(', '[', ';']) && !path;
    !(operator || next.starts_with("- ") || next == "-" || next.starts_with("||") || next.starts_with(">="))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(line: &str) -> Typed<'_> {
        let commands = ["kmem", "ps", "cat", "source", "why", "page-types", "ps-types"];
        classify(line, |word| commands.contains(&word), |word| word == "ps")
    }

    #[test]
    fn the_rule_of_the_house() {
        for line in [
            "kmem",
            "kmem -z",
            "kmem|grep x",
            "kmem > f",
            "  kmem -i ",
            "why 7",
            "cat /proc/meminfo",
            "%ps",
            "source ./x",
            "page-types",
            "page-types -r | tail -1",
        ] {
            assert!(matches!(of(line), Typed::Command(_)), "{line}");
        }
        for line in [
            "kmem = 1",
            "kmem(\"-z\")",
            "kmem.x",
            "kmem + 1",
            "kmem - 1",
            "kmem [0]",
            "kmem;",
            "kmem ;",
            "let kmem = 1",
            "cat / 2",
            "kmem || x",
            "page-types + 1",
            "page - types",
            "ps-types",
        ] {
            assert_eq!(of(line), Typed::Rhai, "{line}");
        }
        assert_eq!(of("ps -a"), Typed::Shadowed("ps"));
        assert_eq!(of("ps + 1"), Typed::Rhai);
        assert_eq!(of("kmem?"), Typed::Help("kmem"));
        assert_eq!(of("!ls -l"), Typed::Host("ls -l"));
        assert_eq!(of("!ps"), Typed::Rhai);
        assert_eq!(of("!f(x)"), Typed::Rhai);
        assert_eq!(of("# a remark"), Typed::Nothing);
        assert_eq!(of("#{a: 1}"), Typed::Rhai);
        assert_eq!(of("#!/usr/bin/env vmlab"), Typed::Nothing);
    }
}
