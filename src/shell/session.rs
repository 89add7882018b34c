//! One line in, one answer out: the session behind the prompt, `-e`, pipes, transcripts and labs.

use crate::mm::oom_kill::why::grouped;
use crate::script::bench::Bench;
use crate::script::catalogue;
use crate::script::complaint::{Complaint, Kind};
use crate::script::suggest::nearest;
use crate::shell::command;
use crate::shell::crash::{self, Spelled};
use crate::shell::dispatch::{self, Typed};
use crate::shell::help::Pages;
use crate::shell::interpreter::Interpreter;
use crate::shell::kit::Kit;
use crate::shell::render;
use crate::shell::svg;
use crate::shell::theme::Theme;
use rhai::Dynamic;
use std::rc::Rc;

/// How a line or a script ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// It was answered.
    Done,
    /// It was answered by a complaint.
    Failed,
    /// `exit(n)`, or `quit`.
    Exit(u8),
    /// Ctrl-C.
    Interrupted,
    /// The reader of the results went away.
    Closed,
}

/// How a session talks.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Manners {
    /// Colours of results.
    pub theme: Theme,
    /// Colours of complaints.
    pub complaints: Theme,
    /// Values are shown as JSON.
    pub json: bool,
}

/// A command of a floor above: the shell knows its name and hands it its words.
#[derive(Clone, Copy)]
pub struct Guest {
    /// Its name.
    pub name: &'static str,
    /// Obeys a line: the name, and the words after it.
    pub run: fn(&mut Session, &[String]) -> Outcome,
    /// What could be typed after these words of its line, each with a remark.
    pub complete: fn(&[&str]) -> Vec<(String, String)>,
}

/// A conversation with one machine.
pub struct Session {
    /// The bench.
    pub bench: Bench,
    /// What was typed so far.
    pub interpreter: Interpreter,
    /// Declared commands.
    pub commands: Rc<[Spelled]>,
    /// Help.
    pub pages: Rc<Pages>,
    /// The session's own commands.
    pub kit: Kit,
    /// Commands of the floor above.
    pub guests: Vec<Guest>,
    pub(crate) manners: Manners,
    undo: bool,
}

impl Session {
    /// A session at this bench.
    pub fn new(bench: Bench, manners: Manners) -> Session {
        {
            let mut desk = bench.borrow_to_look();
            (desk.draw, desk.draw_ascii, desk.draw_svg) = (render::plain, render::ascii, svg::svg);
        }
        let mut interpreter = Interpreter::new(&bench);
        let commands: Rc<[Spelled]> = crash::commands().into();
        let pages = Rc::new(Pages::new(interpreter.entries.clone(), commands.clone()));
        if manners.json {
            // JSON must stay JSON: what scripts print stands aside.
            let out = bench.out.clone();
            interpreter.engine_mut().on_print(move |text| out.complaint(text));
        }
        command::register(&mut interpreter, commands.clone(), pages.clone());
        Session {
            bench,
            interpreter,
            commands,
            pages,
            kit: Kit::default(),
            guests: Vec::new(),
            manners,
            undo: false,
        }
    }

    /// A session whose text goes nowhere but into its replies.
    pub fn quiet(bench: Bench) -> Session {
        Session::new(bench, Manners::default())
    }

    /// Answers a typed line with everything it wrote: results and complaints.
    pub fn reply(&mut self, line: &str) -> String {
        let out = self.bench.out.clone();
        out.capture(|| self.type_line(line)).1
    }

    /// Obeys a line of a person: remembers it for `history` and `save`.
    pub fn type_line(&mut self, line: &str) -> Outcome {
        let start = self.bench.borrow().machine.clock;
        let outcome = self.remember(line);
        if self.kit.timing {
            let took = self.bench.borrow().machine.clock.saturating_sub(start);
            let note = format!("note: {:.3} ms of virtual time", took as f64 / 1e6);
            self.bench.out.complaint(&self.manners.complaints.hint(&note));
        }
        outcome
    }

    fn remember(&mut self, line: &str) -> Outcome {
        if !line.trim().is_empty() {
            self.kit.history.push(line.trim_end().to_string());
        }
        if !self.undo {
            return self.obey(line);
        }
        let before = {
            let mut desk = self.bench.borrow_to_look();
            let desk = &mut *desk;
            desk.snapshots.before_line(&mut desk.machine, line);
            desk.changes
        };
        let outcome = self.obey(line);
        let mut desk = self.bench.borrow_to_look();
        let changed = desk.changes != before;
        desk.snapshots.after_line(changed);
        outcome
    }

    /// Two lines that greet: the machine, and what to try.
    pub fn banner(&self) -> String {
        let desk = self.bench.borrow();
        let (machine, config) = (&desk.machine, &desk.machine.config);
        let plural = |n: usize, what: &str| format!("{n} {what}{}", if n == 1 { "" } else { "s" });
        let zones = machine.zones.iter().filter(|z| z.is_populated()).count();
        let start = format!(
            "vmlab {} · {} · {}, {}, {} kB · seed {}",
            env!("CARGO_PKG_VERSION").trim_end_matches(".0"),
            config.name,
            plural(machine.nodes.len(), "node"),
            plural(zones, "zone"),
            grouped((machine.totalram_pages() * 4) as i64),
            config.seed
        );
        format!("{start}        {}", self.manners.theme.faint("try: kmem -z · help · lab"))
    }

    /// Keeps the machine before every typed line from now on, for `undo`.
    pub fn keep_undo(&mut self) {
        self.undo = true;
    }

    /// The kernel log, line by line.
    pub fn kernel_log(&self) -> Vec<String> {
        let table = crate::script::trace::log(&self.bench.borrow().machine);
        render::plain(&table).lines().map(String::from).collect()
    }

    /// The first lines of a saved session: the machine it ran on.
    pub(crate) fn replay_header(&self) -> String {
        let desk = self.bench.borrow();
        let config = &desk.machine.config;
        format!("#!/usr/bin/env vmlab\n// vmlab --machine {} --seed {}\n", config.name, config.seed)
    }

    /// Obeys a typed line; what it writes goes to the streams.
    pub fn obey(&mut self, line: &str) -> Outcome {
        // A paste of several lines, commands among them, is obeyed line by line; a script of several lines at once.
        if line.trim().contains('\n') && !self.interpreter.compiles(line) {
            return self.obey_lines(line, false);
        }
        self.obey_one(line)
    }

    fn obey_one(&mut self, line: &str) -> Outcome {
        self.bench.rearm();
        let line = self.kit.expand_alias(line);
        let is_command = |word: &str| self.is_command(word);
        let is_variable = |word: &str| self.interpreter.scope.contains(word);
        match dispatch::classify(&line, is_command, is_variable) {
            Typed::Nothing => Outcome::Done,
            Typed::Host(host) => self.host(host),
            Typed::Help(name) => self.command(&format!("help {name}")),
            Typed::Command(command) => self.command(command),
            Typed::Shadowed(name) => {
                let note = format!("note: '{name}' is a variable here; use %{name} for the command");
                self.bench.out.complaint(&self.manners.complaints.hint(&note));
                self.rhai(&line)
            }
            Typed::Rhai => self.rhai(&line),
        }
    }

    /// Runs a script file: Rhai only, nothing shown but what it prints.
    pub fn run_script(&mut self, name: &str, text: &str) -> Outcome {
        self.bench.rearm();
        // A first line for the host's loader is no Rhai; its place stays, so that lines keep their numbers.
        let text = if text.starts_with("#!") { format!("//{text}") } else { text.to_string() };
        match self.interpreter.run(name, &text) {
            Ok(_) => self.done(),
            Err(complaint) => self.fail(&complaint),
        }
    }

    /// Obeys typed lines one after the other, joining those that belong together; stops where one ends the
    /// session, or at the first failure when `strict`.
    pub fn obey_lines(&mut self, text: &str, strict: bool) -> Outcome {
        let mut worst = Outcome::Done;
        let mut input = String::new();
        let mut lines = text.lines().peekable();
        while let Some(line) = lines.next() {
            input.push_str(line);
            if lines.peek().is_some() && self.is_incomplete(&input) {
                input.push('\n');
                continue;
            }
            let outcome = self.obey_one(&std::mem::take(&mut input));
            match outcome {
                Outcome::Done => {}
                Outcome::Failed if !strict => worst = outcome,
                _ => return outcome,
            }
        }
        worst
    }

    /// Is this a command's name?
    pub fn is_command(&self, word: &str) -> bool {
        Kit::knows(word)
            || self.guests.iter().any(|guest| guest.name == word)
            || self.commands.iter().any(|c| c.name == word)
            || self.interpreter.entries.iter().any(|e| e.name == word && e.is_command())
    }

    /// Does the input end in the middle of something? A command line never does.
    pub fn is_incomplete(&self, input: &str) -> bool {
        let is_variable = |word: &str| self.interpreter.scope.contains(word);
        let ends_open = |input: &str| {
            let typed = dispatch::classify(input, |word| self.is_command(word), is_variable);
            typed == Typed::Rhai && self.interpreter.is_incomplete(input)
        };
        if !input.trim().contains('\n') || self.interpreter.compiles(input) {
            return ends_open(input);
        }
        // Of several lines those that belong together; what is left may be unfinished.
        let mut open = String::new();
        for line in input.lines() {
            open.push_str(line);
            open.push('\n');
            if !ends_open(&open) {
                open.clear();
            }
        }
        !open.is_empty()
    }

    /// How this session talks.
    pub fn manners(&self) -> Manners {
        self.manners
    }

    fn rhai(&mut self, line: &str) -> Outcome {
        match self.interpreter.run("", line) {
            Ok(value) => {
                let quiet = line.trim_end().ends_with(';');
                self.kit.replay.push(format!("{};", line.trim_end().trim_end_matches(';')));
                let value = if value.is_unit() && !quiet { self.assigned(line) } else { Some(value) };
                if let Some(value) = value.filter(|_| !quiet) {
                    self.answer(value);
                }
                self.done()
            }
            Err(complaint) => {
                let complaint = self.no_command(line).unwrap_or(complaint);
                self.fail(&complaint)
            }
        }
    }

    /// A line such as `kmme -z` was meant as a command, and there is none of that name.
    fn no_command(&self, line: &str) -> Option<Complaint> {
        let (word, rest) = dispatch::first_word(line.trim());
        let begins = |c: char| c.is_ascii_alphabetic() || c == '_';
        let next = rest.trim_start().trim_start_matches('-');
        let words =
            rest.starts_with(' ') && next.starts_with(|c: char| begins(c) || c.is_ascii_digit() || c == '/');
        // `a - 1` is a difference, of a name that is unknown.
        let difference = rest.trim_start().starts_with("- ");
        let known = self.interpreter.knows(word);
        let function = self
            .interpreter
            .entries
            .iter()
            .find(|entry| entry.name == word && entry.kind == catalogue::Kind::Function);
        if let Some(entry) = function.filter(|_| words && !self.interpreter.compiles(line)) {
            let help = format!("{word} is a function; call it: {}", entry.signatures[0]);
            return Some(Complaint::new(format!("no such command: {word}")).help(help));
        }
        let alone = rest.is_empty();
        if !word.starts_with(begins) || !(words || alone) || difference || known || line.contains(['\n', '='])
        {
            return None;
        }
        let names = self.pages.command_names();
        let names = names.iter().map(String::as_str).chain(self.guests.iter().map(|guest| guest.name));
        let complaint = Complaint::new(format!("no such command: {word}"));
        Some(match nearest(word, names).as_slice() {
            // A word alone is more likely a variable.
            [] if alone => return None,
            [] => complaint.help(format!("help lists the commands; apropos {word} looks inside their pages")),
            near => complaint.help(format!("did you mean {}?", near.join(" or "))),
        })
    }

    /// `let p = …` without a semicolon shows what `p` became.
    fn assigned(&self, line: &str) -> Option<Dynamic> {
        let text = line.trim_start();
        let text =
            text.strip_prefix("let ").or_else(|| text.strip_prefix("const ")).unwrap_or(text).trim_start();
        let (name, rest) = dispatch::first_word(text);
        let rest = rest.trim_start();
        let assigns = rest.starts_with('=') && !rest.starts_with("==");
        if !assigns || line.contains(['\n', ';']) { None } else { self.interpreter.scope.get(name).cloned() }
    }

    /// Shows a value, and keeps it as `it`.
    pub(crate) fn answer(&mut self, value: Dynamic) {
        if value.is_unit() {
            return;
        }
        let text = if self.manners.json {
            self.interpreter.json(&value).to_string() + "\n"
        } else {
            self.interpreter.show(&value, self.manners.theme)
        };
        self.interpreter.scope.set_or_push("it", value);
        self.bench.out.text(&text);
    }

    /// Shows a table that nobody typed for.
    pub fn show(&mut self, table: crate::script::table::Table) {
        self.answer(Dynamic::from(table));
    }

    /// A complaint in the session's own words.
    pub(crate) fn complain(&mut self, what: impl Into<String>) -> Outcome {
        self.fail(&Complaint::new(what))
    }

    /// A complaint in the words of the tool that is imitated.
    pub(crate) fn complain_plainly(&mut self, text: &str) -> Outcome {
        self.bench.out.complaint(text);
        Outcome::Failed
    }

    pub(crate) fn fail(&mut self, complaint: &Complaint) -> Outcome {
        let outcome = match complaint.kind {
            Kind::Exit(code) => return Outcome::Exit(code),
            Kind::Closed => return self.done(),
            Kind::Interrupted => Outcome::Interrupted,
            Kind::Script | Kind::Oops | Kind::Panic => Outcome::Failed,
        };
        self.bench.out.complaint(&render::complaint(complaint, self.manners.complaints));
        outcome
    }

    pub(crate) fn done(&self) -> Outcome {
        match (self.bench.out.failed(), self.bench.out.closed()) {
            (true, _) => Outcome::Failed,
            (false, true) => Outcome::Closed,
            (false, false) => Outcome::Done,
        }
    }
}
