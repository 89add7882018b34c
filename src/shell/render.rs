//! The one place that draws: tables, values and complaints.

use crate::script::complaint::{Complaint, Kind, Place};
use crate::script::draw::strip::{Strip, Tone};
use crate::script::table::{Align, Grid, Part, Style, Table, WIDTH, wrap};
use crate::shell::theme::Theme;
use comfy_table::{CellAlignment, presets};

/// A table as JSON: its rows; what is told in sentences has none, and answers its lines.
pub fn json(table: &Table) -> serde_json::Value {
    let mut json = table.json();
    if table.records().is_empty() {
        json["lines"] = plain(table).lines().collect();
    }
    json
}

/// A table without colours, as `.text` has it.
pub fn plain(table: &Table) -> String {
    draw(table, Theme::PLAIN)
}

/// The same in ASCII, as `.ascii` has it.
pub fn ascii(table: &Table) -> String {
    draw(table, Theme::PLAIN.with_ascii(true))
}

/// A table as the terminal shows it; every line ends with a newline.
pub fn draw(table: &Table, theme: Theme) -> String {
    let mut text = String::new();
    for part in table.parts() {
        match part {
            Part::Line(line) => text.push_str(line),
            Part::Head(line) => text.push_str(&theme.heading(line)),
            Part::Strip(strip) => text.push_str(&self::strip(strip, table.label_width(), theme)),
            Part::Legend(marks) => text.push_str(&theme.faint(&legend(marks, theme))),
            Part::Note(line) => text.push_str(&theme.hint(&format!("note: {line}"))),
            Part::Grid(grid) => {
                let drawn = if grid.style == Style::Exact { exact(grid, theme) } else { free(grid, theme) };
                text.push_str(&drawn);
                continue;
            }
        }
        text.push('\n');
    }
    text
}

/// `DMA  │██▒···│ 3840 free`.
fn strip(strip: &Strip, width: usize, theme: Theme) -> String {
    let edge = if theme.is_ascii() { '|' } else { '│' };
    let marks = strip.marks(theme.is_ascii());
    let line = format!("{:<width$} {edge}{marks}{edge} {}", strip.label, strip.after);
    line.trim_end().into()
}

/// `█ free  · used`.
fn legend(marks: &[(Tone, &str)], theme: Theme) -> String {
    let marks: Vec<String> =
        marks.iter().map(|(tone, means)| format!("{} {means}", tone.mark(theme.is_ascii()))).collect();
    marks.join("  ")
}

/// Columns of given widths; what is too wide pushes the rest to the right, as `printf` does.
fn exact(grid: &Grid, theme: Theme) -> String {
    let mut text = String::new();
    let line = |cells: &mut dyn Iterator<Item = (String, Align)>| {
        let mut line = String::new();
        for (column, (cell, align)) in grid.columns.iter().zip(cells) {
            line.push_str(&" ".repeat(column.gap));
            line.push_str(&pad(&cell, column.width, align));
        }
        line.truncate(line.trim_end().len());
        line
    };
    if grid.heading {
        let heading = line(&mut grid.columns.iter().map(|c| (c.head.clone(), c.head_align)));
        text.push_str(&theme.heading(&heading));
        text.push('\n');
    }
    for row in &grid.rows {
        text.push_str(&line(
            &mut grid.columns.iter().zip(row).map(|(column, cell)| (cell.text(), column.align)),
        ));
        text.push('\n');
    }
    text
}

fn pad(text: &str, width: usize, align: Align) -> String {
    match align {
        Align::Left => format!("{text:<width$}"),
        Align::Right => format!("{text:>width$}"),
        // crash gives the odd space to the left.
        Align::Centre => {
            let right = width.saturating_sub(text.chars().count()) / 2;
            format!("{:>1$}{2}", text, width - right.min(width), " ".repeat(right))
        }
    }
}

/// Columns as wide as what stands in them.
fn free(grid: &Grid, theme: Theme) -> String {
    let mut table = comfy_table::Table::new();
    table.load_style(presets::NOTHING);
    if grid.heading {
        table.set_header(grid.columns.iter().map(|c| c.head.clone()));
    }
    for row in &grid.rows {
        table.add_row(row.iter().take(grid.columns.len()).map(|cell| cell.text()));
    }
    for (index, column) in grid.columns.iter().enumerate() {
        if let Some(drawn) = table.column_mut(index) {
            drawn.set_padding((if index == 0 { 0 } else { 2 }, 0));
            drawn.set_cell_alignment(match column.align {
                Align::Left => CellAlignment::Left,
                Align::Right => CellAlignment::Right,
                Align::Centre => CellAlignment::Center,
            });
        }
    }
    let mut text = String::new();
    for (number, line) in table.trim_fmt().lines().enumerate() {
        let heading = grid.heading && number == 0;
        text.push_str(&if heading { theme.heading(line.trim_end()) } else { line.trim_end().to_string() });
        text.push('\n');
    }
    text
}

/// A complaint: what, where, and what to try; without a newline at the end.
pub fn complaint(complaint: &Complaint, theme: Theme) -> String {
    let mut lines = Vec::new();
    match complaint.kind {
        Kind::Oops | Kind::Panic => lines.push(theme.error(&complaint.what)),
        Kind::Interrupted => lines.push(theme.error("interrupted")),
        Kind::Closed | Kind::Exit(_) => {}
        Kind::Script => lines.push(format!("{} {}", theme.error("error:"), complaint.what)),
    }
    if let Some(place) = complaint.place.as_ref().filter(|place| points_somewhere(place)) {
        lines.extend(snippet(place, theme));
    }
    lines.extend(complaint.calls.iter().map(|call| format!("  {}", theme.faint(call))));
    for help in &complaint.help {
        match complaint.kind {
            // The long form of a broken rule is sentences of its own.
            Kind::Oops => lines.extend(format!("  {help}").lines().flat_map(|line| wrap(line, WIDTH))),
            _ => lines.push(format!("  {} {help}", theme.hint("help:"))),
        }
    }
    lines.join("\n")
}

/// The start of the only typed line needs no pointer.
fn points_somewhere(place: &Place) -> bool {
    !place.source.is_empty() || place.line > 1 || place.column > 1
}

fn snippet(place: &Place, theme: Theme) -> Vec<String> {
    let number = place.line.to_string();
    let margin = " ".repeat(number.len());
    let at = if place.source.is_empty() {
        format!("{}:{}", place.line, place.column)
    } else {
        format!("{}:{}:{}", place.source, place.line, place.column)
    };
    // Keeps tabs, so that the pointer stands under the word.
    let blank: String =
        place.text.chars().take(place.column - 1).map(|c| if c == '\t' { '\t' } else { ' ' }).collect();
    let bar = theme.hint("|");
    vec![
        format!("{margin}{} {at}", theme.hint("-->")),
        format!("{margin} {bar}"),
        format!("{} {bar} {}", theme.hint(&number), place.text),
        format!("{margin} {bar} {blank}{}", theme.error(&"^".repeat(place.width))),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::script::table::Column;

    #[test]
    fn the_real_tools_columns_and_free_ones() {
        let columns = || vec![Column::left("ZONE", 6).gap(0), Column::right("FREE", 6)];
        let rows = || vec![vec!["DMA".into(), 3808_u64.into()], vec!["Movable".into(), 0_u64.into()]];
        let exact = Table::new().head("NODE 0").with(columns(), rows(), Style::Exact);
        assert_eq!(plain(&exact), "NODE 0\nZONE      FREE\nDMA       3808\nMovable       0\n");
        let free = Table::grid(columns(), rows());
        assert_eq!(plain(&free), "ZONE     FREE\nDMA      3808\nMovable     0\n");
    }
}
