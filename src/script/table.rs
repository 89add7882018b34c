//! What a view answers: rows for programs, a layout for people.
//!
//! A view never draws. It says which columns there are and what stands in them; `shell/render.rs` draws, and
//! `--json` writes the same rows.
//!
//! ```text
//!   Table ── parts: Line("NODE: 0  ZONE: 1 …")     text of the real tool's layout
//!        │          Grid(columns × cells)          a table inside it
//!        │          Strip(label │marks│ after)      a line of a drawing
//!        └─ records: [ {zone: "DMA32", free: 87271, …}, … ]
//! ```

use crate::script::args::Address;
use crate::script::draw::strip::{Strip, Tone};
use rhai::{Array, Dynamic, Map};
use std::rc::Rc;

/// One value of a row.
#[derive(Clone, PartialEq, Debug)]
pub enum Cell {
    /// Nothing stands here.
    Empty,
    /// A number.
    Int(i64),
    /// An address: hexadecimal without `0x`, as crash prints it.
    Addr(u64),
    /// A word or a sentence.
    Text(String),
    /// Yes or no.
    Flag(bool),
    /// A list, one level deep: protection of a zone, frames of a block.
    List(Vec<Cell>),
    /// Shown as the text, kept as the number.
    Shown(String, i64),
}

impl Cell {
    /// The cell as people see it.
    pub fn text(&self) -> String {
        match self {
            Cell::Empty => String::new(),
            Cell::Int(n) => n.to_string(),
            Cell::Addr(a) => format!("{a:x}"),
            Cell::Text(s) | Cell::Shown(s, _) => s.clone(),
            Cell::Flag(yes) => if *yes { "yes" } else { "no" }.into(),
            Cell::List(cells) => cells.iter().map(Cell::text).collect::<Vec<_>>().join(" "),
        }
    }

    /// The cell as a script sees it.
    pub fn value(&self) -> Dynamic {
        match self {
            Cell::Empty => Dynamic::UNIT,
            Cell::Int(n) | Cell::Shown(_, n) => (*n).into(),
            Cell::Addr(a) => Dynamic::from(Address(*a)),
            Cell::Text(s) => s.as_str().into(),
            Cell::Flag(yes) => (*yes).into(),
            Cell::List(cells) => cells.iter().map(Cell::value).collect::<Array>().into(),
        }
    }

    /// The cell as other programs see it; addresses are strings, because their numbers lose bits.
    pub fn json(&self) -> serde_json::Value {
        match self {
            Cell::Empty => serde_json::Value::Null,
            Cell::Int(n) | Cell::Shown(_, n) => (*n).into(),
            Cell::Addr(a) => format!("{a:#x}").into(),
            Cell::Text(s) => s.as_str().into(),
            Cell::Flag(yes) => (*yes).into(),
            Cell::List(cells) => cells.iter().map(Cell::json).collect(),
        }
    }
}

impl From<&str> for Cell {
    fn from(s: &str) -> Cell {
        Cell::Text(s.into())
    }
}

impl From<String> for Cell {
    fn from(s: String) -> Cell {
        Cell::Text(s)
    }
}

impl From<bool> for Cell {
    fn from(yes: bool) -> Cell {
        Cell::Flag(yes)
    }
}

impl From<Address> for Cell {
    fn from(a: Address) -> Cell {
        Cell::Addr(a.0)
    }
}

impl<T: Into<Cell>> From<Vec<T>> for Cell {
    fn from(cells: Vec<T>) -> Cell {
        Cell::List(cells.into_iter().map(Into::into).collect())
    }
}

impl<T: Into<Cell>> From<Option<T>> for Cell {
    fn from(cell: Option<T>) -> Cell {
        cell.map_or(Cell::Empty, Into::into)
    }
}

macro_rules! numbers {
    ($($number:ty)*) => {$(
        impl From<$number> for Cell {
            fn from(n: $number) -> Cell {
                Cell::Int(n as i64)
            }
        }
    )*};
}
numbers! { i64 u64 u32 i32 u16 u8 usize }

/// Where a column's text stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Align {
    /// Words.
    Left,
    /// Numbers.
    Right,
    /// Addresses in crash's headings.
    Centre,
}

/// A column of a grid.
#[derive(Clone, PartialEq, Debug)]
pub struct Column {
    /// The name in rows and JSON: lower case.
    pub key: String,
    /// The heading.
    pub head: String,
    /// Least width.
    pub width: usize,
    /// Where the cells stand.
    pub align: Align,
    /// Where the heading stands.
    pub head_align: Align,
    /// Spaces before the column.
    pub gap: usize,
}

impl Column {
    /// A column of words.
    pub fn left(head: &str, width: usize) -> Column {
        Column::new(head, width, Align::Left)
    }

    /// A column of numbers.
    pub fn right(head: &str, width: usize) -> Column {
        Column::new(head, width, Align::Right)
    }

    /// A column whose cells stand in the middle.
    pub fn centre(head: &str, width: usize) -> Column {
        Column::new(head, width, Align::Centre)
    }

    fn new(head: &str, width: usize, align: Align) -> Column {
        let key = head.trim().to_ascii_lowercase().replace([' ', '-', '/'], "_").replace('%', "percent");
        Column { key, head: head.into(), width, align, head_align: align, gap: 2 }
    }

    /// The same column under another name in rows.
    pub fn key(mut self, key: &str) -> Column {
        self.key = key.into();
        self
    }

    /// The same column with its heading elsewhere.
    pub fn head(mut self, align: Align) -> Column {
        self.head_align = align;
        self
    }

    /// The same column, so many spaces from the one before.
    pub fn gap(mut self, gap: usize) -> Column {
        self.gap = gap;
        self
    }
}

/// How a grid is drawn.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Style {
    /// Columns of given widths, as the real tool prints them.
    Exact,
    /// Columns as wide as what stands in them.
    Free,
}

/// Rows under headings.
#[derive(Clone, PartialEq, Debug)]
pub struct Grid {
    /// The columns.
    pub columns: Vec<Column>,
    /// The cells, as many in each row as there are columns; more are data without a column.
    pub rows: Vec<Vec<Cell>>,
    /// How it is drawn.
    pub style: Style,
    /// Is the line of headings shown?
    pub heading: bool,
}

/// A piece of a layout.
#[derive(Clone, PartialEq, Debug)]
pub enum Part {
    /// A line as it stands.
    Line(String),
    /// A line that is a heading.
    Head(String),
    /// A table.
    Grid(Grid),
    /// A remark of vmlab that the real tool would not print.
    Note(String),
    /// A line of a drawing.
    Strip(Strip),
    /// What the marks of the strips mean.
    Legend(Vec<(Tone, &'static str)>),
}

/// A row as data: names and values in order.
pub type Record = Vec<(String, Cell)>;

/// The answer of a view.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Table {
    parts: Rc<Vec<Part>>,
    records: Rc<Vec<Record>>,
}

impl Table {
    /// An empty answer, to which parts are added.
    pub fn new() -> Table {
        Table::default()
    }

    /// A table with columns as wide as needed.
    pub fn grid(columns: Vec<Column>, rows: Vec<Vec<Cell>>) -> Table {
        Table::new().with(columns, rows, Style::Free)
    }

    /// Sentences, each line cut where a terminal ends.
    pub fn prose(text: &str) -> Table {
        text.lines().fold(Table::new(), Table::sentence)
    }

    /// Adds a sentence, cut where a terminal ends.
    pub fn sentence(self, line: impl AsRef<str>) -> Table {
        wrap(line.as_ref(), WIDTH).into_iter().fold(self, Table::line)
    }

    /// Lines as they stand; the data is the lines.
    pub fn lines(text: &str) -> Table {
        let mut table = Table::new();
        for line in text.lines() {
            table = table.line(line);
        }
        let records = text.lines().map(|line| vec![("line".to_string(), Cell::from(line))]).collect();
        table.with_records(records)
    }

    /// Adds a line.
    pub fn line(mut self, line: impl Into<String>) -> Table {
        Rc::make_mut(&mut self.parts).push(Part::Line(line.into()));
        self
    }

    /// Adds any piece of a layout.
    pub fn part(mut self, part: Part) -> Table {
        if let Part::Grid(grid) = part {
            return self.with_grid(grid);
        }
        Rc::make_mut(&mut self.parts).push(part);
        self
    }

    /// Adds a heading.
    pub fn head(mut self, line: impl Into<String>) -> Table {
        Rc::make_mut(&mut self.parts).push(Part::Head(line.into()));
        self
    }

    /// Adds a remark.
    pub fn note(mut self, line: impl Into<String>) -> Table {
        Rc::make_mut(&mut self.parts).push(Part::Note(line.into()));
        self
    }

    /// Adds a grid; its rows are data, too.
    pub fn with(self, columns: Vec<Column>, rows: Vec<Vec<Cell>>, style: Style) -> Table {
        self.with_grid(Grid { columns, rows, style, heading: true })
    }

    /// Adds a grid; its rows are data, too.
    pub fn with_grid(mut self, grid: Grid) -> Table {
        let records = Rc::make_mut(&mut self.records);
        for row in &grid.rows {
            records.push(grid.columns.iter().map(|c| c.key.clone()).zip(row.iter().cloned()).collect());
        }
        Rc::make_mut(&mut self.parts).push(Part::Grid(grid));
        self
    }

    /// Adds a line of a drawing.
    pub fn strip(self, strip: Strip) -> Table {
        self.part(Part::Strip(strip))
    }

    /// Says what the marks of the strips mean.
    pub fn legend(self, marks: impl IntoIterator<Item = (Tone, &'static str)>) -> Table {
        self.part(Part::Legend(marks.into_iter().collect()))
    }

    /// Adds all parts of another answer; the data stays.
    pub fn append(mut self, other: &Table) -> Table {
        Rc::make_mut(&mut self.parts).extend(other.parts.iter().cloned());
        self
    }

    /// Adds another answer, its data too.
    pub fn join(mut self, other: &Table) -> Table {
        Rc::make_mut(&mut self.records).extend(other.records.iter().cloned());
        self.append(other)
    }

    /// Columns before the bars of the strips, so that all begin in one column.
    pub fn label_width(&self) -> usize {
        let width = |part: &Part| match part {
            Part::Strip(strip) => strip.label.chars().count(),
            _ => 0,
        };
        self.parts.iter().map(width).max().unwrap_or(0)
    }

    /// Replaces the data: what rows and JSON show.
    pub fn with_records(mut self, records: Vec<Record>) -> Table {
        self.records = Rc::new(records);
        self
    }

    /// The pieces of the layout.
    pub fn parts(&self) -> &[Part] {
        &self.parts
    }

    /// The rows as data.
    pub fn records(&self) -> &[Record] {
        &self.records
    }

    /// The rows as a script sees them: an array of maps.
    pub fn rows(&self) -> Array {
        self.records.iter().map(|record| Dynamic::from(Self::map(record))).collect()
    }

    fn map(record: &Record) -> Map {
        record.iter().map(|(key, cell)| (key.as_str().into(), cell.value())).collect()
    }

    /// The rows as other programs see them: one document.
    pub fn json(&self) -> serde_json::Value {
        let rows: Vec<serde_json::Value> = self
            .records
            .iter()
            .map(|record| {
                record
                    .iter()
                    .map(|(key, cell)| (key.clone(), cell.json()))
                    .collect::<serde_json::Map<_, _>>()
                    .into()
            })
            .collect();
        serde_json::json!({ "schema": 1, "rows": rows })
    }
}

/// A table of an array of maps: one column for each key. (A Rhai map keeps its keys in alphabetical order.)
pub fn from_rows(rows: &[Dynamic]) -> Table {
    let mut columns: Vec<Column> = Vec::new();
    let maps: Vec<Map> =
        rows.iter().filter_map(|row| row.read_lock::<Map>().map(|map| map.clone())).collect();
    for (key, value) in maps.iter().flatten() {
        if !columns.iter().any(|c| c.key == key.as_str()) {
            let numeric = value.is_int() && maps.iter().all(|m| m.get(key).is_none_or(Dynamic::is_int));
            let head = key.to_uppercase();
            let column = if numeric { Column::right(&head, 0) } else { Column::left(&head, 0) };
            columns.push(column.key(key));
        }
    }
    let cells = maps
        .iter()
        .map(|map| columns.iter().map(|c| map.get(c.key.as_str()).map_or(Cell::Empty, cell)).collect());
    let cells = cells.collect();
    Table::grid(columns, cells)
}

fn cell(value: &Dynamic) -> Cell {
    if let Some(address) = value.read_lock::<Address>() {
        return Cell::Addr(address.0);
    }
    if let Ok(n) = value.as_int() {
        return Cell::Int(n);
    }
    if let Ok(yes) = value.as_bool() {
        return Cell::Flag(yes);
    }
    if value.is_unit() { Cell::Empty } else { Cell::Text(value.to_string()) }
}

/// Columns that are read without moving one's head.
pub const WIDTH: usize = 100;

/// A line in pieces of at most `width` columns, cut at a space: before the last clause, when that then fits into one.
/// What follows is indented one step more, or as far as the text of `1. …`; a table's row stays whole.
pub fn wrap(line: &str, width: usize) -> Vec<String> {
    /// A last piece below this looks lost.
    const LOST: usize = 24;
    let indent = line.len() - line.trim_start().len();
    let digits = line[indent..].bytes().take_while(u8::is_ascii_digit).count();
    let numbered = digits > 0 && line[indent + digits..].starts_with(". ");
    let hang = " ".repeat(if numbered { indent + digits + 2 } else { indent + 2 });
    let is_row = line.trim().contains("   ");
    let mut pieces = Vec::new();
    let mut rest = line.trim_end().to_string();
    while let Some((end, _)) = rest.char_indices().nth(width).filter(|_| !is_row) {
        let first = rest.len() - rest.trim_start().len();
        let left = |at: usize| rest[at..].trim().chars().count();
        let after = |mark: &str| rest[..end].rfind(mark).map(|at| at + mark.trim_end().len());
        let fits = |at: &usize| *at > end / 2 && hang.len() + left(*at) <= width;
        let clause = after(". ").max(after("; ")).max(after(" (")).filter(fits);
        let space = if rest[end..].starts_with(' ') { Some(end) } else { rest[..end].rfind(' ') };
        // A word longer than the line stays whole.
        let space = space.filter(|at| *at > first).or_else(|| rest[end..].find(' ').map(|at| end + at));
        let lost = space.is_some_and(|at| left(at) < LOST);
        let Some(cut) = clause.or(after(", ").filter(|_| lost).filter(fits)).or(space) else { break };
        let cut = if rest[..cut].ends_with(" (") { cut - 1 } else { cut };
        pieces.push(rest[..cut].trim_end().to_string());
        rest = format!("{hang}{}", rest[cut..].trim_start());
    }
    pieces.push(rest);
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_lines_are_cut_where_they_read_well() {
        assert_eq!(wrap("  short", 20), ["  short"]);
        assert_eq!(wrap("  2. one two three four", 16), ["  2. one two", "     three four"]);
        assert_eq!(wrap("Kernel: a, bcdefgh. Next: c, d", 24), ["Kernel: a, bcdefgh.", "  Next: c, d"]);
        assert_eq!(wrap("a incomprehensibilities b", 8), ["a", "  incomprehensibilities", "  b"]);
        assert_eq!(wrap("ééé ééé ééé", 7), ["ééé ééé", "  ééé"]);
        assert_eq!(wrap("x        ", 4), ["x"]);
        assert_eq!(wrap("one two three four (five)", 21), ["one two three four", "  (five)"]);
        assert_eq!(wrap("one two; three four five", 20), ["one two; three four", "  five"]);
        assert_eq!(wrap("one two three; four five", 20), ["one two three;", "  four five"]);
        assert_eq!(wrap("hog    32,118 +    0   killed", 20), ["hog    32,118 +    0   killed"]);
    }

    #[test]
    fn text_rows_and_json_come_from_one_value() {
        let columns = vec![Column::left("NAME", 6), Column::right("FREE", 6), Column::left("ADDR", 16)];
        let rows = vec![vec!["DMA".into(), 3808_u64.into(), Address(0xffff_8880_1fd5_a000).into()]];
        let table = Table::grid(columns, rows);
        assert_eq!(
            table.json().to_string(),
            r#"{"schema":1,"rows":[{"name":"DMA","free":3808,"addr":"0xffff88801fd5a000"}]}"#
        );
        assert_eq!(table.rows().len(), 1);
        assert_eq!(table.records()[0][1].1.text(), "3808");
    }
}
