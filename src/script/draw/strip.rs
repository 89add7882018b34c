//! A strip: something long as a line of marks, each for as much of it as fits into a column.
//!
//! ```text
//!   pieces   0 ──── free ──── 300 ── used ── 512        in units: pages, bytes, objects
//!   text     ██████████████▒·····················       at most 64 columns, shaded by how much of each is filled
//!   svg      rectangles, as wide as they are
//! ```

/// Columns of a strip at most.
const COLUMNS: u64 = 64;

/// What a piece of a strip looks like. Where several share a column, the last of this list is seen.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Tone {
    /// There is nothing: a hole.
    Hole,
    /// Kept back: never given to anybody.
    Reserved,
    /// There, and nothing to say about it.
    Dim,
    /// Made of smaller parts, which other strips show.
    Split,
    /// The frame of zeros.
    Zero,
    /// What the picture is about; a column that it fills in part is lighter.
    Fill,
    /// Held by more than one.
    Shared,
    /// Elsewhere: in swap.
    Swap,
    /// A line that something may not fall below.
    Low,
}

/// Tone, mark, mark in ASCII, colour. The colours are told apart by those who see few.
const LOOKS: [(Tone, char, char, &str); 9] = [
    (Tone::Hole, ' ', ' ', "#ffffff"),
    (Tone::Reserved, 'r', 'r', "#999999"),
    (Tone::Dim, '·', '.', "#dddddd"),
    (Tone::Split, '─', '-', "#cfe3f2"),
    (Tone::Zero, 'z', 'z', "#f0e442"),
    (Tone::Fill, '█', '#', "#0072b2"),
    (Tone::Shared, '=', '=', "#009e73"),
    (Tone::Swap, 's', 's', "#d55e00"),
    (Tone::Low, '!', '!', "#cc79a7"),
];

impl Tone {
    /// One column of it.
    pub fn mark(self, ascii: bool) -> char {
        let (_, unicode, plain, _) = LOOKS[self as usize];
        if ascii { plain } else { unicode }
    }

    /// Its colour in SVG.
    pub fn colour(self) -> &'static str {
        LOOKS[self as usize].3
    }

    /// Is it the ground that others lie on?
    fn is_ground(self) -> bool {
        self <= Tone::Reserved
    }
}

/// A part of a strip, from one unit up to another.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Piece {
    /// Its first unit.
    pub from: u64,
    /// One past its last unit.
    pub to: u64,
    /// What it looks like.
    pub tone: Tone,
}

/// A line of marks with words on both sides.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Strip {
    /// What stands before it; strips of one drawing begin in one column.
    pub label: String,
    /// How long it is.
    pub units: u64,
    /// Its pieces, in ascending order; between them it is empty.
    pub pieces: Vec<Piece>,
    /// What stands after it.
    pub after: String,
}

/// What one column shows: a tone, and how many eighths of the column it fills.
type Column = Option<(Tone, u64)>;

impl Strip {
    /// An empty strip.
    pub fn new(label: impl Into<String>, units: u64) -> Strip {
        Strip { label: label.into(), units, ..Strip::default() }
    }

    /// The strip with words after it.
    pub fn after(mut self, words: impl Into<String>) -> Strip {
        self.after = words.into();
        self
    }

    /// Adds a piece behind those there are; what lies outside of the strip is cut off.
    pub fn add(&mut self, from: u64, to: u64, tone: Tone) {
        let (from, to) = (from.min(self.units), to.min(self.units));
        match self.pieces.last_mut() {
            _ if from >= to => {}
            // Neighbours that look alike are one.
            Some(last) if last.to == from && last.tone == tone => last.to = to,
            _ => self.pieces.push(Piece { from, to, tone }),
        }
    }

    /// Fills whatever is empty yet.
    pub fn fill(&mut self, tone: Tone) {
        let pieces = std::mem::take(&mut self.pieces);
        let mut at = 0;
        for piece in pieces {
            self.add(at, piece.from, tone);
            self.pieces.push(piece);
            at = piece.to;
        }
        self.add(at, self.units, tone);
    }

    /// The marks, one for each column.
    pub fn marks(&self, ascii: bool) -> String {
        let shades = if ascii { [':', '+', '%', '#'] } else { ['░', '▒', '▓', '█'] };
        let mark = |column: Column| match column {
            Some((Tone::Fill, eighths)) => shades[(eighths as usize).div_ceil(2).clamp(1, 4) - 1],
            Some((tone, _)) => tone.mark(ascii),
            None => ' ',
        };
        self.columns(COLUMNS).into_iter().map(mark).collect()
    }

    /// Cuts the strip into so many columns at most, and says what each shows.
    pub fn columns(&self, most: u64) -> Vec<Column> {
        let columns = self.units.min(most);
        // Units times columns: the borders of both are whole numbers.
        let mut pieces = self.pieces.iter().peekable();
        let mut shown = Vec::with_capacity(columns as usize);
        for column in 0..columns {
            let (start, end) = (column * self.units, (column + 1) * self.units);
            let mut parts = [0; LOOKS.len()];
            while let Some(piece) = pieces.peek() {
                let (from, to) = (piece.from * columns, piece.to * columns);
                if from >= end {
                    break;
                }
                parts[piece.tone as usize] += to.min(end) - from.max(start);
                if to > end {
                    break;
                }
                pieces.next();
            }
            shown.push(Self::shown(&parts, self.units));
        }
        shown
    }

    /// The ground, when it is most of the column, else what deserves most to be seen.
    fn shown(parts: &[u64; LOOKS.len()], whole: u64) -> Column {
        let present = || LOOKS.iter().map(|look| (look.0, parts[look.0 as usize])).filter(|part| part.1 > 0);
        let ground = present().filter(|part| part.0.is_ground()).max_by_key(|part| part.1);
        let (tone, part) = match ground.filter(|part| part.1 * 2 > whole) {
            Some(ground) => ground,
            None => present().next_back()?,
        };
        Some((tone, (part * 8).div_ceil(whole)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn strip(units: u64, pieces: &[(u64, u64, Tone)]) -> Strip {
        let mut strip = Strip::new("", units);
        for &(from, to, tone) in pieces {
            strip.add(from, to, tone);
        }
        strip
    }

    #[test]
    fn a_short_strip_has_a_mark_for_each_unit() {
        let mut short = strip(6, &[(1, 3, Tone::Fill), (4, 9, Tone::Swap)]);
        assert_eq!(short.marks(false), " ██ ss");
        short.fill(Tone::Dim);
        assert_eq!((short.marks(false), short.marks(true)), ("·██·ss".into(), ".##.ss".into()));
        assert_eq!(strip(0, &[]).marks(false), "");
    }

    #[test]
    fn a_column_is_as_dark_as_it_is_full() {
        let long = strip(
            640,
            &[(0, 10, Tone::Fill), (10, 17, Tone::Fill), (25, 30, Tone::Fill), (38, 39, Tone::Fill)],
        );
        assert_eq!(long.marks(false).trim_end(), "█▓▒░");
        assert_eq!(long.marks(false).chars().count(), 64);
    }

    #[test]
    fn one_page_is_seen_unless_most_of_its_column_is_ground() {
        let used = strip(
            6400,
            &[(0, 99, Tone::Dim), (99, 100, Tone::Shared), (100, 160, Tone::Hole), (160, 200, Tone::Dim)],
        );
        assert_eq!(used.marks(true).trim_end(), "=");
        assert_eq!(used.columns(64)[..3], [Some((Tone::Shared, 1)), Some((Tone::Hole, 5)), None]);
    }
}
