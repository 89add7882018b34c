//! `help --model`: what is simulated, how faithfully, and how true it was found to be.
//!
//! The heads of the modules say it once. Two pages of the book are made of them and of the comparisons with recorded
//! kernels, and tests keep those pages true; here they are read.

use crate::script::complaint::Complaint;
use crate::script::suggest::nearest;
use crate::script::table::{Column, Table, wrap};

const SIMULATED: &str = include_str!("../../book/src/simulated.md");
const TRUE: &str = include_str!("../../book/src/true.md");

/// A module of the simulator: the text about it.
struct Room<'a> {
    name: &'a str,
    text: &'a str,
}

impl Room<'_> {
    /// `faithful, absent`: the words of its list.
    fn fidelity(&self) -> String {
        let words = self.text.lines().filter_map(|line| line.strip_prefix("* **")?.split_once("**"));
        let mut words: Vec<String> = words.map(|(word, _)| word.to_lowercase()).collect();
        words.dedup();
        words.join(", ")
    }
}

fn rooms() -> impl Iterator<Item = Room<'static>> {
    SIMULATED.split("\n## ").skip(1).map(|part| {
        let (name, text) = part.split_once('\n').unwrap_or((part, ""));
        Room { name: name.trim(), text }
    })
}

/// Names of the modules, for completion.
pub fn names() -> impl Iterator<Item = String> {
    rooms().map(|room| room.name.to_string())
}

/// Every module in a line, and the comparisons with real kernels.
pub fn overview() -> Table {
    let intro = SIMULATED.split("\n## ").next().unwrap_or_default();
    // Of the introduction, what the words mean.
    let words = intro.lines().filter_map(|line| line.strip_prefix("* "));
    let page = Table::new().head("WHAT IS SIMULATED").line("");
    let mut page = words.fold(page, |page, line| page.line(format!("  {}", plain(line)))).line("");
    let rows = rooms().map(|room| vec![room.name.into(), room.fidelity().into()]);
    let grid = Table::grid(vec![Column::left("MODULE", 0), Column::left("HOW FAITHFUL", 0)], rows.collect());
    page = grid.parts().iter().fold(page, |page, part| page.part(part.clone()));
    page = page.line("").head("COMPARED WITH RECORDED KERNELS").line("");
    let cells = |line: &'static str| line.trim_matches('|').split('|').map(str::trim).collect::<Vec<_>>();
    // The first table of the page: its heading and its rule come first.
    let rows =
        TRUE.lines().skip_while(|line| !line.starts_with('|')).take_while(|line| line.starts_with('|'));
    for row in rows.skip(2).map(cells) {
        if let [what, _, equal] = row.as_slice() {
            page = page.line(format!("  {what:<22} {equal} equal in every number"));
        }
    }
    page.line("")
        .line("help --model NAME shows a module: help --model compaction")
        .with_records(grid.records().to_vec())
}

/// What is said about a module, or about all whose text has the word.
pub fn room(asked: &str) -> Result<Table, Complaint> {
    let asked = asked.trim_end_matches(".rs").trim_start_matches("mm/");
    let part_of = |room: &Room| room.name == asked || room.name.rsplit('/').next() == Some(asked);
    let below = |room: &Room| room.name.strip_prefix(asked).is_some_and(|rest| rest.starts_with('/'));
    let mut found: Vec<Room> = rooms().filter(|room| part_of(room) || below(room)).collect();
    if found.is_empty() {
        let word = asked.to_lowercase();
        found = rooms().filter(|room| word.len() > 2 && room.text.to_lowercase().contains(&word)).collect();
    }
    if found.is_empty() {
        let known: Vec<&str> = rooms().map(|room| room.name).collect();
        let complaint =
            Complaint::new(format!("no module of the simulator is called {asked} or tells about it"));
        return Err(match nearest(asked, known.into_iter()).first() {
            Some(near) => complaint.help(format!("did you mean {near}?")),
            None => complaint.help("help --model lists them all"),
        });
    }
    let mut page = Table::new();
    for (n, room) in found.iter().enumerate() {
        page = if n > 0 { page.line("") } else { page }.head(room.name);
        for line in room.text.trim().lines().filter(|line| !line.is_empty()) {
            for (n, line) in wrap(&plain(line), 94).iter().enumerate() {
                page = page.line(format!("{}{line}", if n > 0 { "    " } else { "  " }));
            }
        }
    }
    Ok(page)
}

/// The text without its Markdown.
fn plain(line: &str) -> String {
    line.replace("**", "").replace('`', "")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shell::render;

    #[test]
    fn a_room_says_what_is_simulated_of_it() {
        let page = render::plain(&room("compaction").unwrap());
        assert!(page.starts_with("compaction\n") && page.contains("Absent"), "{page}");
        assert!(render::plain(&room("pcp").unwrap()).starts_with("page_alloc/pcp\n"));
        assert!(render::plain(&room("kswapd").unwrap()).contains("vmscan"));
        assert!(room("compction").unwrap_err().help[0].contains("compaction"));
        assert!(page.lines().all(|line| line.chars().count() <= 100), "{page}");
    }

    #[test]
    fn the_overview_names_every_room_and_the_comparisons() {
        let page = render::plain(&overview());
        assert!(rooms().count() > 20 && rooms().all(|room| !room.fidelity().is_empty()));
        assert!(rooms().all(|room| page.contains(room.name)));
        assert!(page.contains("captured boots"), "{page}");
    }
}
