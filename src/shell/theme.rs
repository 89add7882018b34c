//! Colours, decided once: by the stream, `NO_COLOR`, `CLICOLOR_FORCE`, `TERM=dumb` and `--color`.
//! And whether a drawing may use more than ASCII: the locale of a terminal says so.

use anstream::{AutoStream, ColorChoice};
use owo_colors::OwoColorize;

/// Whether text is coloured, and how each kind of text looks.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Theme {
    colour: bool,
    ascii: bool,
}

/// Columns of the terminal that standard output is; `None` for anything else, which gets the same bytes everywhere.
pub fn terminal_width() -> Option<usize> {
    use std::io::IsTerminal;
    if !std::io::stdout().is_terminal() {
        return None;
    }
    let columns = |text: String| text.trim().parse::<usize>().ok();
    let told = std::env::var("COLUMNS").ok().and_then(columns);
    // Safe code cannot ask the terminal itself.
    let asked = || {
        let terminal = std::fs::File::open("/dev/tty").ok()?;
        let mut stty = std::process::Command::new("stty");
        let stty = stty.arg("size").stdin(terminal).stderr(std::process::Stdio::null());
        let answer = String::from_utf8(stty.output().ok()?.stdout).ok()?;
        columns(answer.split(' ').nth(1)?.into())
    };
    Some(told.or_else(asked).filter(|width| *width >= 20).unwrap_or(80))
}

impl Theme {
    /// No colours: transcripts, pipes, `.text`.
    pub const PLAIN: Theme = Theme { colour: false, ascii: false };
    /// Colours.
    pub const COLOUR: Theme = Theme { colour: true, ascii: false };

    /// What suits this stream.
    pub fn of(stream: &impl anstream::stream::RawStream) -> Theme {
        let theme =
            if AutoStream::choice(stream) == ColorChoice::Never { Theme::PLAIN } else { Theme::COLOUR };
        // What is not a terminal gets the same bytes everywhere.
        theme.with_ascii(stream.is_terminal() && !locale_has_unicode())
    }

    /// The theme with drawings in ASCII, or in Unicode.
    pub fn with_ascii(self, ascii: bool) -> Theme {
        Theme { ascii, ..self }
    }

    /// Are drawings made of ASCII?
    pub fn is_ascii(self) -> bool {
        self.ascii
    }

    /// Are there colours?
    pub fn is_coloured(self) -> bool {
        self.colour
    }

    /// `error:`
    pub fn error(self, text: &str) -> String {
        if self.colour { text.red().bold().to_string() } else { text.into() }
    }

    /// `help:`, `note:` and what points at places.
    pub fn hint(self, text: &str) -> String {
        if self.colour { text.cyan().to_string() } else { text.into() }
    }

    /// Headings of tables and pages.
    pub fn heading(self, text: &str) -> String {
        if self.colour && !text.trim().is_empty() { text.bold().to_string() } else { text.into() }
    }

    /// What matters less.
    pub fn faint(self, text: &str) -> String {
        if self.colour { text.dimmed().to_string() } else { text.into() }
    }

    /// Keywords of the language, as they are typed.
    pub fn keyword(self, text: &str) -> String {
        if self.colour { text.magenta().to_string() } else { text.into() }
    }

    /// Names the catalogue knows.
    pub fn known(self, text: &str) -> String {
        if self.colour { text.blue().to_string() } else { text.into() }
    }

    /// Strings and numbers.
    pub fn literal(self, text: &str) -> String {
        if self.colour { text.green().to_string() } else { text.into() }
    }
}

/// Does the locale say that the terminal shows more than ASCII? Where nothing says so, it does.
fn locale_has_unicode() -> bool {
    let set = |name: &&str| std::env::var(name).is_ok_and(|value| !value.is_empty());
    let decides = ["LC_ALL", "LC_CTYPE", "LANG"].into_iter().find(set);
    let locale = decides.and_then(|name| std::env::var(name).ok()).unwrap_or("UTF-8".into());
    let locale = locale.to_ascii_uppercase();
    locale.contains("UTF-8") || locale.contains("UTF8")
}
