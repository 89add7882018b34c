//! Command lines: pipes and redirects, expansion, and the same commands inside scripts.
//!
//! ```text
//!   kmem -i | grep FREE > free.txt
//!   ──┬───   ────┬────   ───┬────
//!     │          │          a file of the host, or of the simulated machine (/proc/…)
//!     │          the host's programs, or the built-in filters
//!     script text, run as if typed
//! ```

use crate::script::answer;
use crate::script::args::Address;
use crate::script::complaint::Kind;
use crate::script::handles::{PageRef, TaskRef};
use crate::shell::crash::{self, Spelled};
use crate::shell::filters::{self, Programs};
use crate::shell::help::Pages;
use crate::shell::interpreter::Interpreter;
use crate::shell::kit::Kit;
use crate::shell::session::{Outcome, Session};
use crate::shell::theme::Theme;
use crate::shell::words;
use rhai::{Dynamic, Position};
use std::rc::Rc;

impl Session {
    /// A command line: with its pipes and redirect.
    pub(crate) fn command(&mut self, line: &str) -> Outcome {
        let parts = match words::split(line) {
            Ok(parts) => parts,
            Err(why) => return self.complain(why),
        };
        if parts.pipes.is_empty() && parts.redirect.is_none() {
            return self.bare_command(&parts.words);
        }
        let manners = self.manners;
        self.manners.theme = Theme::PLAIN;
        let out = self.bench.out.clone();
        let (outcome, mut text) = out.capture(|| self.bare_command(&parts.words));
        self.manners = manners;
        if outcome != Outcome::Done {
            self.bench.out.complaint(text.trim_end());
            return outcome;
        }
        let programs = if self.bench.borrow().limits.host { Programs::Host } else { Programs::BuiltIn };
        // As in a shell: how the last of them ends is how the line ends.
        let mut well = true;
        let stop = self.bench.stop_switch();
        for (n, filter) in parts.pipes.iter().enumerate() {
            let last = n + 1 == parts.pipes.len() && parts.redirect.is_none();
            let terminal = (last && self.bench.out.is_inherited()).then_some(&*stop);
            match filters::pipe(programs, filter, &text, terminal) {
                Ok(filtered) => (text, well) = (filtered.text, filtered.well),
                Err(why) => return self.complain(why),
            }
        }
        match &parts.redirect {
            None => {
                self.bench.out.text(&text);
                if well { self.done() } else { Outcome::Failed }
            }
            Some((file, append)) => match self.redirect(&text, file, *append) {
                Outcome::Done if !well => Outcome::Failed,
                outcome => outcome,
            },
        }
    }

    /// A file of the simulated machine is written there, any other on the host.
    fn redirect(&mut self, text: &str, file: &str, append: bool) -> Outcome {
        if file.starts_with("/proc/") || file.starts_with("/sys/") {
            return self.expanded(&format!(
                "echo({}, {})",
                words::quoted(text.trim_end()),
                words::quoted(file)
            ));
        }
        if !self.bench.borrow().limits.host {
            return self.complain(format!("{file}: a sandboxed session writes no files"));
        }
        let opened =
            std::fs::OpenOptions::new().create(true).write(true).append(append).truncate(!append).open(file);
        match opened.and_then(|mut opened| std::io::Write::write_all(&mut opened, text.as_bytes())) {
            Ok(()) => Outcome::Done,
            Err(why) => self.complain(format!("{file}: {why}")),
        }
    }

    fn bare_command(&mut self, line: &[String]) -> Outcome {
        let Some((name, args)) = line.split_first() else { return Outcome::Done };
        // `help lab` is its own page.
        let asked = if name == "help" { args.first().unwrap_or(name) } else { name };
        if let Some(guest) = self.guests.iter().copied().find(|guest| guest.name == asked) {
            let page = [asked.clone(), "--help".to_string()];
            return (guest.run)(self, if asked == name { line } else { &page });
        }
        if Kit::knows(name) {
            return Kit::run(self, line);
        }
        if args.iter().any(|arg| arg == "--help") {
            return self.command(&format!("help {name}"));
        }
        let args: Vec<String> = args.iter().map(|word| self.value_of(word)).collect();
        let args = args.as_slice();
        let commands = self.commands.clone();
        let expansion = match commands.iter().find(|c| c.name == name) {
            Some(spelled) => match spelled.expand(args) {
                Ok(expansion) => expansion,
                Err(usage) => return self.complain_plainly(&usage),
            },
            None => {
                if args.is_empty()
                    && let Some(usage) = self.usage_of(name)
                {
                    return self.complain_plainly(&usage);
                }
                let shown = args.iter().any(|arg| arg == "--script");
                let args: Vec<String> =
                    args.iter().filter(|arg| *arg != "--script").map(|w| words::argument(w)).collect();
                crash::Expansion {
                    script: format!("{name}({})", args.join(", ")),
                    by_hand: None,
                    show: shown,
                }
            }
        };
        if !expansion.show {
            return self.expanded(&expansion.script);
        }
        self.bench.out.line(&expansion.script);
        if let Some(by_hand) = expansion.by_hand {
            self.bench.out.line(&format!("// the same numbers by hand:\n{by_hand}"));
        }
        Outcome::Done
    }

    /// How a function is used as a command, if it can do nothing without an argument: as crash answers a bare name.
    fn usage_of(&self, name: &str) -> Option<String> {
        let entry = self.interpreter.entries.iter().find(|e| e.name == name && e.is_command())?;
        let parameters = |form: &String| {
            let inside = &form[form.find('(')? + 1..form.rfind(')')?];
            let names = inside.split(", ").filter(|word| !word.is_empty());
            Some(names.map(|word| word.split(':').next().unwrap_or(word).to_uppercase()).collect::<Vec<_>>())
        };
        let forms: Vec<Vec<String>> = entry.signatures.iter().filter_map(parameters).collect();
        if forms.iter().any(Vec::is_empty) {
            return None;
        }
        let lines: Vec<String> = forms.iter().map(|form| format!("  {name} {}", form.join(" "))).collect();
        Some(format!("Usage:\n{}\nEnter \"help {name}\" for details.", lines.join("\n")))
    }

    /// A word of a command that is a variable here means its value: an address, a page's structure, a task's pid.
    fn value_of(&self, word: &str) -> String {
        let Some(value) = self.interpreter.scope.get(word) else { return word.to_string() };
        let machine = &self.bench.borrow().machine;
        if let Some(address) = value.read_lock::<Address>() {
            format!("{:x}", address.0)
        } else if let Some(page) = value.read_lock::<PageRef>() {
            format!("{:x}", machine.page_struct(page.pfn).0)
        } else if let Some(task) = value.read_lock::<TaskRef>() {
            task.pid.to_string()
        } else {
            word.to_string()
        }
    }

    /// Runs the script a command stands for; places in it mean nothing to whoever typed the command.
    pub(crate) fn expanded(&mut self, script: &str) -> Outcome {
        match self.interpreter.run("", script) {
            Ok(value) => {
                let block =
                    if script.contains("; ") { format!("{{ {script} }}") } else { script.to_string() };
                self.kit.replay.push(if value.is_unit() {
                    format!("{block};")
                } else {
                    format!("print({block});")
                });
                self.answer(value);
                self.done()
            }
            Err(mut complaint) => {
                complaint.place = None;
                // A complaint that begins with a command's name is in that tool's own words already.
                let spelled = |what: &str| {
                    what.split_once(": ")
                        .is_some_and(|(name, _)| self.commands.iter().any(|c| c.name == name))
                };
                if complaint.kind == Kind::Script && complaint.help.is_empty() && spelled(&complaint.what) {
                    return self.complain_plainly(&complaint.what);
                }
                self.fail(&complaint)
            }
        }
    }

    pub(crate) fn host(&mut self, line: &str) -> Outcome {
        if !self.bench.borrow().limits.host {
            return self.complain(format!("!{line}: a sandboxed session starts no programs"));
        }
        match filters::run(line, &self.bench.stop_switch()) {
            Ok(true) => Outcome::Done,
            // It has said itself what was wrong.
            Ok(false) => Outcome::Failed,
            Err(why) => self.complain(why),
        }
    }
}

/// Makes `kmem("-z")` in a script mean what `kmem -z` means at the prompt.
pub(crate) fn register(interpreter: &mut Interpreter, commands: Rc<[Spelled]>, pages: Rc<Pages>) {
    let entries = interpreter.entries.clone();
    #[allow(deprecated)] // "volatile", not deprecated: commands take any number of words.
    interpreter.engine_mut().on_missing_function(move |name, args, is_method, context| {
        let spelled = commands.iter().find(|c| c.name == name);
        let is_page = matches!(name, "help" | "man" | "apropos");
        // Rhai also asks when a known function failed.
        if is_method || (spelled.is_none() && !is_page) || entries.iter().any(|e| e.name == name) {
            return Ok(None);
        }
        let mut line = Vec::new();
        for arg in args.iter() {
            match arg.read_lock::<rhai::ImmutableString>() {
                Some(text) => line.extend(words::words(&text).or_else(answer::misuse)?),
                None => line.push(arg.to_string()),
            }
        }
        let Some(spelled) = spelled else {
            return match pages.answer(name, &line) {
                Ok(page) => Ok(Some(Dynamic::from(page))),
                Err(complaint) => answer::misuse(complaint.what),
            };
        };
        let expansion = spelled.expand(&line).or_else(answer::misuse)?;
        if expansion.show {
            return Ok(Some(expansion.script.into()));
        }
        // Places in the expansion mean nothing to the script that called the command.
        context.engine().eval::<Dynamic>(&expansion.script).map(Some).map_err(|mut error| {
            error.set_position(Position::NONE);
            error
        })
    });
}
