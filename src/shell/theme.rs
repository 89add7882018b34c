//! Colours, decided once: by the stream, `NO_COLOR`, `CLICOLOR_FORCE`, `TERM=dumb` and `--color`.

use anstream::{AutoStream, ColorChoice};
use owo_colors::OwoColorize;

/// Whether text is coloured, and how each kind of text looks.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Theme {
    colour: bool,
}

impl Theme {
    /// No colours: transcripts, pipes, `.text`.
    pub const PLAIN: Theme = Theme { colour: false };
    /// Colours.
    pub const COLOUR: Theme = Theme { colour: true };

    /// What suits this stream.
    pub fn of(stream: &impl anstream::stream::RawStream) -> Theme {
        Theme { colour: AutoStream::choice(stream) != ColorChoice::Never }
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
