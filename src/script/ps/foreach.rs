//! `foreach`: one command for many tasks, each task's part ending in an empty line.

use super::context;
use super::list::{self, Listed};
use super::show;
use crate::script::answer::{ScriptResult, misuse};
use crate::script::bench::Desk;
use crate::script::table::{Part, Table};
use crate::script::vm;

/// Commands that make sense for many tasks.
const COMMANDS: [&str; 5] = ["vm", "vtop", "set", "task", "ps"];

/// `[TASK …] COMMAND [WORD …]`.
pub fn foreach(desk: &Desk, words: &str) -> ScriptResult<Table> {
    let words: Vec<&str> = words.split_whitespace().collect();
    let Some(at) = words.iter().position(|word| COMMANDS.contains(word)) else {
        return misuse(format!("foreach: which command? one of {}", COMMANDS.join(", ")));
    };
    let (chosen, command, rest) = (&words[..at], words[at], &words[at + 1..]);
    let options = rest.join(" ");
    let mut all = Table::new();
    let mut records = Vec::new();
    for task in choose(desk, chosen)? {
        // vtop answers for each address on its own.
        let parts: Vec<Table> = match command {
            "vm" => vec![vm::view(desk, &task, &options)?],
            "set" => vec![context::context(&task)],
            "task" => vec![context::structure(&desk.machine, &task)],
            "ps" => vec![show::ps(desk, &format!("{} {options}", task.pid))?],
            _ => vtops(desk, &task, rest)?,
        };
        for part in parts.iter().filter(|part| !part.parts().is_empty()) {
            all = part.parts().iter().fold(all, |all, piece| all.part(piece.clone()));
            records.extend(part.records().iter().cloned());
            all = all.part(Part::Line(String::new()));
        }
    }
    Ok(all.with_records(records))
}

/// The tasks that the words name; without words all of them, each swapper and thread too.
fn choose(desk: &Desk, words: &[&str]) -> ScriptResult<Vec<Listed>> {
    let everybody = list::all(&desk.machine);
    if words.is_empty() {
        return Ok(everybody);
    }
    let mut chosen: Vec<Listed> = Vec::new();
    for word in words {
        let named: Vec<Listed> = match *word {
            "user" => everybody.iter().filter(|t| !t.kernel).cloned().collect(),
            "kernel" => everybody.iter().filter(|t| t.kernel).cloned().collect(),
            "active" => everybody.iter().filter(|t| t.active).cloned().collect(),
            name => everybody.iter().filter(|t| t.comm == name).cloned().collect(),
        };
        if named.is_empty() && !matches!(*word, "user" | "kernel" | "active") {
            chosen.push(list::who(desk, "foreach", &(*word).into())?);
        }
        chosen.extend(named);
    }
    Ok(chosen)
}

fn vtops(desk: &Desk, task: &Listed, words: &[&str]) -> ScriptResult<Vec<Table>> {
    if words.is_empty() {
        return misuse("foreach: vtop needs an address");
    }
    words
        .iter()
        .map(|word| {
            let answer = vm::vtop_for(desk, task, vm::number("vtop", &(*word).into())?);
            let head = Table::new().head(task.header());
            // Who has no such address says so, and the others are asked all the same.
            let part = answer.unwrap_or_else(|_| Table::new().line("(no user address space)"));
            let records = part.records().to_vec();
            let joined = part.parts().iter().fold(head, |all, piece| all.part(piece.clone()));
            Ok(joined.with_records(records))
        })
        .collect()
}
