//! What could be typed next: commands, options, functions, flags, properties, and names that are alive now.
//!
//! ```text
//!   vm -p 3          words      a command's options and arguments: its declaration says what they take
//!   zone("DM         cursor     in which call, at which argument: the type in the signature says what it takes
//!   p.fr             members    properties and functions of the value's type
//! ```

mod cursor;
mod words;

use crate::script::catalogue::{Entry, Kind, type_name};
use crate::script::takes::Takes;
use crate::shell::dispatch::first_word;
use crate::shell::session::Session;
use cursor::{Call, word_start};

/// Something that could stand at the cursor.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Candidate {
    /// What is inserted.
    pub text: String,
    /// What the list shows.
    pub shown: String,
}

impl Candidate {
    fn remarked(text: String, remark: &str) -> Candidate {
        let shown =
            if remark.is_empty() { text.clone() } else { clip(format!("{text:<24} {remark}").trim_end()) };
        Candidate { text, shown }
    }
}

/// Rhai's own words, completed like names.
const WORDS: &[&str] = &[
    "let", "const", "fn", "if", "else", "for", "in", "while", "loop", "break", "continue", "return",
    "switch", "try", "catch", "throw", "import", "true", "false", "print",
];

/// What could stand at the end of `line`, and where it would begin.
pub fn complete(session: &Session, line: &str) -> (usize, Vec<Candidate>) {
    let (start, mut found) =
        if is_command_line(session, line) { words::command_line(session, line) } else { rhai(session, line) };
    tidy(&mut found);
    (start, found)
}

/// Is a command's name typed, and something after it?
fn is_command_line(session: &Session, line: &str) -> bool {
    let typed = line.trim_start();
    let (first, rest) = first_word(typed.trim_start_matches('%'));
    let variable = session.interpreter.scope.contains(first) && !typed.starts_with('%');
    let operator = rest.trim_start().starts_with(['=', '+', '*', '<', '&', '(', '[', ';', '.']);
    session.is_command(first) && rest.starts_with([' ', '|', '>']) && !variable && !operator
}

fn rhai(session: &Session, line: &str) -> (usize, Vec<Candidate>) {
    let around = cursor::cursor(line);
    if let Some(open) = around.string {
        let start = open + line[open..].rfind(' ').map_or(0, |at| at + 1);
        return (start, in_string(session, around.call, &line[open..start], &line[start..]));
    }
    let start = word_start(line);
    let word = &line[start..];
    if let Some(object) = line[..start].strip_suffix('.') {
        return (start, members(session, object, word));
    }
    let mut found = around.call.map(|call| in_call(session, call, word)).unwrap_or_default();
    if line[..start].trim().is_empty() || line[..start].trim() == "%" {
        found.extend(names(session.pages.command_names(), word));
        found.extend(names(session.guests.iter().map(|guest| guest.name.to_string()), word));
        found.extend(names(session.kit.aliases().map(String::from), word));
    }
    if !word.is_empty() || (line.trim().is_empty() && !found.is_empty()) {
        let entries = session.interpreter.entries.iter();
        found.extend(entries.filter(|e| e.kind != Kind::Property).filter_map(|e| named(e, word)));
        found.extend(names(variables(session, |_| true), word));
        found.extend(names(WORDS.iter().map(ToString::to_string), word));
    }
    (start, found)
}

/// Inside of a string: what the argument takes; a command's words, where the call is spelled like a command.
fn in_string(session: &Session, call: Option<Call>, before: &str, word: &str) -> Vec<Candidate> {
    let Some(call) = call else { return Vec::new() };
    let before: Vec<&str> = before.split_whitespace().collect();
    let nth = call.argument + usize::from(call.method);
    let entry = function(session, call.name);
    let found = entry.map(|entry| words::in_quotes(session, entry, nth, &before, word)).unwrap_or_default();
    if found.is_empty() { words::arguments(session, call.name, &before, word) } else { found }
}

/// An argument that is no string yet: numbers of what there is, variables that fit, names in quotes.
fn in_call(session: &Session, call: Call, word: &str) -> Vec<Candidate> {
    let Some(entry) = function(session, call.name) else { return Vec::new() };
    let nth = call.argument + usize::from(call.method);
    // In the middle of an expression anything may stand.
    if call.typed != word {
        return Vec::new();
    }
    let mut found = Vec::new();
    let mut kinds: Vec<Takes> = entry.takes.iter().filter_map(|form| form.get(nth).copied()).collect();
    kinds.dedup();
    for takes in kinds {
        match takes {
            Takes::Gfp => found.extend(words::live(session, takes, word)),
            Takes::Task => {
                found.extend(names(variables(session, |of| of == "task"), word));
                found.extend(words::live(session, takes, word));
            }
            Takes::Address => found.extend(names(variables(session, |of| of == "addr"), word)),
            Takes::Node | Takes::Cpu | Takes::Snapshot => found.extend(words::live(session, takes, word)),
            // A name in quotes, while nothing is typed.
            Takes::Zone | Takes::Machine | Takes::Swap if word.is_empty() => {
                let offered = words::live(session, takes, "");
                found.extend(offered.into_iter().map(|c| Candidate::remarked(format!("\"{}\"", c.text), "")));
            }
            _ => {}
        }
    }
    found
}

fn function<'a>(session: &'a Session, name: &str) -> Option<&'a Entry> {
    session.interpreter.entries.iter().find(|e| e.kind == Kind::Function && e.name == name)
}

/// Names of the variables whose type fits.
fn variables(session: &Session, fits: impl Fn(&str) -> bool) -> Vec<String> {
    let engine = session.interpreter.engine();
    let of = |value: &rhai::Dynamic| type_name(engine.map_type_name(value.type_name()));
    let all = session.interpreter.scope.iter_raw();
    all.filter(|(.., value)| fits(&of(value))).map(|(name, ..)| name.to_string()).collect()
}

/// The grey text after the cursor: the parameters of the call that is being typed.
pub fn hint(session: &Session, line: &str) -> Option<String> {
    let around = cursor::cursor(line);
    let call = around.call.filter(|_| around.string.is_none())?;
    let entry = function(session, call.name)?;
    let typed = call.argument + usize::from(call.method);
    let forms = entry.signatures.iter().map(|form| {
        let start = form.find('(').map_or(0, |at| at + 1);
        let end = form.rfind(')').unwrap_or(form.len());
        form[start..end].split(", ").filter(|p| !p.is_empty()).map(String::from).collect::<Vec<_>>()
    });
    let params = forms.filter(|params| params.len() > typed || params.is_empty()).min_by_key(Vec::len)?;
    let begun = !call.typed.is_empty();
    let rest = params.get(typed + usize::from(begun)..).unwrap_or_default();
    if rest.is_empty() {
        return None;
    }
    Some(format!("{}{})", if begun { ", " } else { "" }, rest.join(", ")))
}

fn named(entry: &Entry, word: &str) -> Option<Candidate> {
    if !entry.name.starts_with(word) {
        return None;
    }
    let text = if entry.kind == Kind::Function { format!("{}(", entry.name) } else { entry.name.clone() };
    Some(Candidate { text, shown: clip(&format!("{:<24} {}", entry.name, entry.summary())) })
}

/// A line of a list that fits a terminal.
fn clip(line: &str) -> String {
    const WIDTH: usize = 76;
    if line.chars().count() <= WIDTH {
        line.into()
    } else {
        line.chars().take(WIDTH - 1).chain(['…']).collect()
    }
}

fn names(names: impl IntoIterator<Item = String>, word: &str) -> Vec<Candidate> {
    let fitting = names.into_iter().filter(|name| name.starts_with(word));
    fitting.map(|name| Candidate::remarked(name, "")).collect()
}

/// Everything that has a page.
fn topics(session: &Session, word: &str) -> Vec<Candidate> {
    let entries = session.interpreter.entries.iter().filter(|e| e.owner.is_empty()).map(|e| e.name.clone());
    let guests = session.guests.iter().map(|guest| guest.name.to_string());
    names(session.pages.command_names().into_iter().chain(guests).chain(entries), word)
}

/// Numbers by their size, the rest by the alphabet; each text once, with the remark that says most.
fn tidy(found: &mut Vec<Candidate>) {
    let key = |c: &Candidate| {
        let name = c.text.trim_end_matches('(').to_string();
        (name.parse::<u64>().unwrap_or(u64::MAX), name, c.text.clone(), usize::MAX - c.shown.len())
    };
    // Options stand in the order of the command's page.
    if !found.iter().all(|c| c.text.starts_with('-')) {
        found.sort_by_cached_key(key);
    }
    // What is both a command and a function stands once, as the command.
    found.dedup_by(|a, b| a.text == b.text || a.text.strip_suffix('(') == Some(&b.text));
}

/// What may follow the dot: properties of the value's type, or functions that take it first.
fn members(session: &Session, object: &str, word: &str) -> Vec<Candidate> {
    let owner = type_of(session, object);
    let fits = |entry: &&Entry| match (&owner, entry.kind) {
        (Some(owner), Kind::Property) => entry.owner == *owner,
        (None, Kind::Property) => true,
        (Some(owner), Kind::Function) => entry.signatures.iter().any(|form| takes_first(form, owner)),
        _ => false,
    };
    session.interpreter.entries.iter().filter(fits).filter_map(|e| named(e, word)).collect()
}

/// The type of what stands before a dot: a variable's, or what a call answers.
fn type_of(session: &Session, object: &str) -> Option<String> {
    if let Some(called) = cursor::ended_call(object) {
        let answers = function(session, called)?.signatures.first()?.rsplit_once(" -> ")?.1;
        return Some(answers.split(" or ").next().unwrap_or(answers).to_string());
    }
    let value = session.interpreter.scope.get(&object[word_start(object)..])?;
    Some(type_name(session.interpreter.engine().map_type_name(value.type_name())))
}

fn takes_first(form: &str, owner: &str) -> bool {
    let params = form.split_once('(').map_or("", |(_, rest)| rest);
    let first = params.split([',', ')']).next().unwrap_or_default();
    first.split_once(": ").is_some_and(|(_, of)| of == owner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::script::bench::Bench;

    /// A session with a task that lives, 3, and one that is dead, 4.
    fn session() -> Session {
        let mut session = Session::quiet(Bench::sandbox("tiny", None).unwrap());
        session.reply("let p = spawn(\"a\"); let q = spawn(\"b\"); kill(q, SIGKILL)");
        session.reply("let at = page_address(page(1));");
        session.reply("snapshot();");
        session
    }

    fn texts(session: &Session, line: &str) -> Vec<String> {
        complete(session, line).1.into_iter().map(|c| c.text).collect()
    }

    /// Every line with the first candidates it must offer, and one that it must not.
    #[test]
    fn what_is_offered_depends_on_the_command_and_the_argument() {
        let session = session();
        for (line, first, never) in [
            ("vm ", &["1", "3"][..], "4"),
            ("vm -", &["-p", "-P", "-m", "-v", "-x", "-R", "-f", "--script"], "3"),
            ("vm -p ", &["1", "3"], "-p"),
            ("vtop -c ", &["1", "3"], "-u"),
            ("ps ", &["1", "3"], "DMA"),
            ("set ", &["1", "3"], "4"),
            ("foreach ", &["1", "3", "ps", "set", "task", "vm", "vtop"], "DMA"),
            ("pmap -x ", &["1", "3"], "4"),
            ("why ", &["1", "3"], "DMA"),
            ("kmem -f ffff8880000", &["ffff888000001000"], "1"),
            ("kmem -", &["-f", "-F", "-i", "-n", "-v", "-z"], "3"),
            ("cat /proc/3/ma", &["/proc/3/maps"], "/proc/4/maps"),
            ("cat ", &["/proc/1/comm"], "DMA"),
            ("echo 1 > /proc/3", &["/proc/3/clear_refs", "/proc/3/oom_score_adj"], "/proc/3/maps"),
            ("echo 1 > ", &["/proc/1/clear_refs"], "/proc/meminfo"),
            ("echo 1 > /proc/sys/vm/compact", &["/proc/sys/vm/compact_memory"], "vm.swappiness"),
            ("sysctl ", &["vm.admin_reserve_kbytes"], "/proc/meminfo"),
            ("sysctl vm.swap", &["vm.swappiness"], "vm.stat_interval"),
            ("sysctl vm.swappiness=10 vm.page-c", &["vm.page-cluster"], "vm.swappiness"),
            ("help vt", &["vtop"], "vm"),
            ("help alloc_page", &["alloc_page", "alloc_pages"], "alloc_pages("),
            ("help --model compa", &["compaction"], "compact"),
            ("man PROT_R", &["PROT_READ"], "PROT_EXEC"),
            ("timing ", &["off", "on"], "vm"),
            ("repeat -3 km", &["kmem"], "vm"),
            ("draw ", &["buddy", "slab", "vma", "walk", "zones"], "DMA"),
            ("draw buddy ", &[], "vma"),
            ("draw slab dent", &["dentry"], "DMA"),
            ("kmem -s vm_a", &["vm_area_struct"], "-f"),
            ("kmem -s -I dentry,vm_a", &["dentry,vm_area_struct"], "vm_area_struct"),
            ("kmem -m flags,_ref", &["flags,_refcount"], "flags"),
            ("struct vm_", &["vm_area_struct"], "-x"),
            ("boot x86_64-n", &["x86_64-numa-cpuless"], "tiny"),
            ("on_cpu ", &["0"], "1"),
            ("restore ", &["1"], "2"),
            ("gfp GFP_KERNEL|__GFP_ZE", &["__GFP_ZERO"], "GFP_KERNEL"),
            ("trace ", &["kmem:*", "off"], "DMA"),
            ("kmem -i | ", &["grep", "head", "sort", "tail", "wc"], "-i"),
            ("%kmem -", &["-f"], "3"),
            ("zone(\"", &["DMA", "DMA32"], "vm"),
            ("zone(0, \"DMA3", &["DMA32"], "DMA"),
            ("zone(", &["0", "\"DMA\""], "vm"),
            ("let m = boot(\"ti", &["tiny"], "DMA"),
            ("cat(\"/proc/vm", &["/proc/vmallocinfo", "/proc/vmstat"], "/proc/meminfo"),
            ("echo(1, \"/proc/sys/vm/swapp", &["/proc/sys/vm/swappiness"], "/proc/meminfo"),
            ("sysctl(\"vm.swapp", &["vm.swappiness"], "DMA"),
            ("vmstat(\"pgfa", &["pgfault"], "DMA"),
            ("task(", &["1", "3"], "4"),
            ("vm(", &["1", "3", "p"], "4"),
            ("vm(p, \"-", &["-p", "-P"], "3"),
            ("kmem(\"-", &["-f", "-F"], "3"),
            ("touch(p, ", &["at"], "1"),
            ("p.touch(", &["at"], "p"),
            ("help(\"vto", &["vtop"], "kmem"),
            ("alloc_pages(GFP_AT", &["GFP_ATOMIC"], "GFP_KERNEL"),
            ("alloc_pages(", &["GFP_ATOMIC"], "vm"),
            ("zone(\"DMA\").fre", &["free", "free_area"], "zone("),
            ("p.oom", &["oom_score_adj"], "free"),
            ("let x = alloc_page", &["alloc_page("], "kmem"),
            ("forea", &["foreach"], "foreach("),
            ("let x = forea", &["foreach("], "foreach"),
            ("print(\"", &[], "DMA"),
            ("vm = ", &[], "3"),
        ] {
            let found = texts(&session, line);
            assert_eq!(&found[..first.len().min(found.len())], first, "{line:?} offers {found:?}");
            assert!(!found.contains(&never.to_string()), "{line:?} offers {never}");
        }
        let (start, found) = complete(&session, "gfp GFP_KERNEL|__GFP_ZE");
        assert_eq!((start, found[0].text.as_str()), (15, "__GFP_ZERO"));
        // A picture may be of a task, or of a zone.
        for fits in ["1", "3", "DMA"] {
            assert!(texts(&session, "draw vma ").contains(&fits.to_string()), "{fits}");
        }
        // Options, where nothing else is known to fit.
        assert!(texts(&session, "kmem ").contains(&"-z".to_string()));
        assert!(texts(&session, "free ").contains(&"-m".to_string()));
        assert!(texts(&session, "").contains(&"kmem".to_string()));
    }

    #[test]
    fn a_variable_is_no_command() {
        let mut session = session();
        session.reply("let vm = 3;");
        assert!(!texts(&session, "vm ").contains(&"3".to_string()));
        assert!(texts(&session, "%vm ").contains(&"3".to_string()));
    }

    #[test]
    fn a_sandbox_shows_no_files_of_the_host() {
        assert_eq!(texts(&session(), "source /"), Vec::<String>::new());
    }

    #[test]
    fn the_parameters_to_come_are_hinted() {
        let session = session();
        assert_eq!(hint(&session, "alloc_pages(").as_deref(), Some("gfp: gfp, order: int)"));
        assert_eq!(hint(&session, "alloc_pages(GFP_KERNEL").as_deref(), Some(", order: int)"));
        assert_eq!(hint(&session, "p.touch(").as_deref(), Some("addr: addr, len: size)"));
        assert_eq!(hint(&session, "cat(\"/proc"), None);
    }
}
