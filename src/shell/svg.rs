//! Drawings as SVG, for the book and for slides: the same parts that [`render`](super::render) draws as text.
//!
//! Black on white and without scripts or fonts of its own, so that it looks the same wherever it is shown.

use crate::script::draw::strip::{Strip, Tone};
use crate::script::table::{Part, Table};
use crate::shell::render;
use crate::shell::theme::Theme;
use std::fmt::Write;

/// Height of a line.
const LINE: usize = 18;
/// Width of a letter of the monospaced font, in tenths.
const LETTER: usize = 73;
/// Width of a bar.
const BAR: u64 = 512;
/// White around everything.
const MARGIN: usize = 8;

/// A table as one SVG document; what is no strip is text.
pub fn svg(table: &Table) -> String {
    let label = letters(table.label_width() + usize::from(table.label_width() > 0));
    let mut sheet = Sheet { body: String::new(), y: MARGIN, width: 0, label };
    let mut title = None;
    for part in table.parts() {
        match part {
            Part::Strip(strip) => sheet.strip(strip),
            Part::Legend(marks) => sheet.legend(marks),
            part => {
                let text = render::draw(&Table::new().part(part.clone()), Theme::PLAIN);
                for line in text.lines() {
                    let weight = if matches!(part, Part::Head(_)) { " font-weight=\"bold\"" } else { "" };
                    title = title.or_else(|| Some(line.to_string()));
                    sheet.text(MARGIN, line, weight);
                    sheet.y += LINE;
                }
            }
        }
    }
    let (width, height) = (sheet.width + MARGIN, sheet.y + MARGIN);
    let title = escaped(&title.unwrap_or_default());
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" viewBox=\"0 0 {width} {height}\" \
         role=\"img\" font-family=\"monospace\" font-size=\"12\">\n<title>{title}</title>\n\
         <rect width=\"{width}\" height=\"{height}\" fill=\"#ffffff\"/>\n{}</svg>\n",
        sheet.body
    )
}

/// What is drawn so far.
struct Sheet {
    body: String,
    y: usize,
    width: usize,
    /// Where bars begin, from the margin on.
    label: usize,
}

impl Sheet {
    fn text(&mut self, x: usize, text: &str, attributes: &str) {
        if !text.trim().is_empty() {
            let (y, text_width) = (self.y + 13, letters(text.chars().count()));
            self.width = self.width.max(x + text_width);
            self.write(format_args!(
                "<text x=\"{x}\" y=\"{y}\" xml:space=\"preserve\"{attributes}>{}</text>\n",
                escaped(text)
            ));
        }
    }

    fn strip(&mut self, strip: &Strip) {
        let (left, top) = (MARGIN + self.label, self.y + 1);
        self.text(MARGIN, &strip.label, "");
        self.text(left + BAR as usize + 8, &strip.after, "");
        // A rectangle for each piece, as long as they can be told apart; else one for each pixel.
        let mut boxes: Vec<(f64, f64, Tone, u64)> = Vec::new();
        if strip.pieces.len() as u64 <= BAR / 2 {
            let x = |at: u64| at as f64 * BAR as f64 / strip.units as f64;
            boxes.extend(strip.pieces.iter().map(|p| (x(p.from), x(p.to), p.tone, 8)));
        } else {
            let columns = strip.columns(BAR);
            let mut at = 0;
            for run in columns.chunk_by(|a, b| a == b) {
                let end = at + run.len();
                boxes.extend(run[0].map(|(tone, eighths)| (at as f64, end as f64, tone, eighths)));
                at = end;
            }
        }
        self.boxes(left, &boxes);
        self.write(format_args!(
            "<rect x=\"{left}\" y=\"{top}\" width=\"{BAR}\" height=\"{}\" fill=\"none\" stroke=\"#000000\" stroke-width=\"0.5\"/>\n",
            LINE - 2
        ));
        self.width = self.width.max(left + BAR as usize);
        self.y += LINE;
    }

    /// Rectangles of a bar: those of one colour are one path.
    fn boxes(&mut self, left: usize, boxes: &[(f64, f64, Tone, u64)]) {
        let look = |b: &(f64, f64, Tone, u64)| (b.2, if b.2 == Tone::Fill { b.3 } else { 8 });
        let mut looks: Vec<(Tone, u64)> = boxes.iter().map(look).filter(|l| l.0 != Tone::Hole).collect();
        looks.sort_unstable();
        looks.dedup();
        let (top, height) = (self.y + 1, LINE - 2);
        for (tone, eighths) in looks {
            let mut path = String::new();
            for this in boxes.iter().filter(|b| look(b) == (tone, eighths)) {
                // What is there is seen, however small.
                let (x, width) = (left as f64 + this.0, (this.1 - this.0).max(0.5));
                let _ = write!(path, "M{} {top}h{}v{height}h-{}z", short(x), short(width), short(width));
            }
            let colour = tone.colour();
            let opacity = if eighths < 8 {
                format!(" fill-opacity=\"{}\"", eighths as f64 / 8.0)
            } else {
                String::new()
            };
            self.write(format_args!("<path fill=\"{colour}\"{opacity} d=\"{path}\"/>\n"));
        }
    }

    fn legend(&mut self, marks: &[(Tone, &str)]) {
        self.y += LINE / 3;
        let mut x = MARGIN + self.label;
        for (tone, means) in marks {
            let (top, colour) = (self.y + 3, tone.colour());
            self.write(format_args!(
                "<rect x=\"{x}\" y=\"{top}\" width=\"12\" height=\"12\" fill=\"{colour}\" stroke=\"#000000\" stroke-width=\"0.5\"/>\n"
            ));
            self.text(x + 18, means, "");
            x += 18 + letters(means.chars().count() + 2);
        }
        self.y += LINE;
    }

    fn write(&mut self, text: std::fmt::Arguments<'_>) {
        // Writing to a string cannot fail.
        let _ = self.body.write_fmt(text);
    }
}

/// A length with at most two digits behind the point.
fn short(length: f64) -> f64 {
    (length * 100.0).round() / 100.0
}

/// Pixels of so many letters.
fn letters(count: usize) -> usize {
    (count * LETTER).div_ceil(10)
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_drawing_is_one_document_of_its_parts() {
        let mut strip = Strip::new("a<b", 4).after("& so on");
        strip.add(1, 3, Tone::Fill);
        let table = Table::new().head("Memory").strip(strip).legend([(Tone::Fill, "free")]);
        let svg = svg(&table);
        assert!(svg.starts_with("<svg ") && svg.ends_with("</svg>\n"), "{svg}");
        for part in
            ["<title>Memory</title>", ">a&lt;b</text>", ">&amp; so on</text>", "h256v16", ">free</text>"]
        {
            assert!(svg.contains(part), "{part} is not in {svg}");
        }
        let opened = svg.matches("<text").count();
        assert_eq!(opened, svg.matches("</text>").count());
    }

    #[test]
    fn many_pieces_become_columns() {
        let mut strip = Strip::new("", 100_000);
        for at in (0..100_000).step_by(4) {
            strip.add(at, at + 1, Tone::Fill);
        }
        let svg = svg(&Table::new().strip(strip));
        assert!(svg.len() < 20_000, "{}", svg.len());
        assert!(svg.contains("fill-opacity=\"0."), "{svg}");
    }
}
