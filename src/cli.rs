//! The command line: what is run, on which machine, under which limits.

mod evidence;

use crate::bench;
use clap::{Parser, ValueEnum};
use std::io::{IsTerminal, Read, Write};
use std::path::Path;
use vmlab::import;
use vmlab::mm::Machine;
use vmlab::mm::config::Config;
use vmlab::script::bench::Bench;
use vmlab::script::limits::Limits;
use vmlab::script::out::Out;
use vmlab::script::table::{WIDTH, wrap};
use vmlab::shell::session::{Manners, Outcome, Session};
use vmlab::shell::theme::Theme;

/// The script is wrong.
pub const FAILED: u8 = 1;
/// Usage, a missing file, a machine that cannot be loaded.
pub const USAGE: u8 = 2;
/// vmlab is wrong.
pub const BUG: u8 = 3;
/// Ctrl-C.
pub const INTERRUPTED: u8 = 130;

/// A laboratory for the Linux memory manager.
#[derive(Parser)]
#[command(
    name = "vmlab",
    version = concat!(env!("CARGO_PKG_VERSION"), " (rhai 1.27)"),
    max_term_width = 100,
    override_usage = "vmlab [OPTIONS] [FILE [ARGS]...]\n       vmlab [OPTIONS] lab|import|bench|reference ...",
    after_help = "Instead of a file:\n  lab        exercises: list, start, check, hint\n  import     evidence from a real machine; - is standard input\n  bench      what the simulator costs on this host\n  reference  the reference of the language\n\nExamples:\n  vmlab                                      the prompt\n  vmlab scripts/oom.rhai                     a script\n  vmlab --machine x86_64-numa2 -e 'kmem -z'  one line, on another machine"
)]
struct Cli {
    #[command(flatten)]
    options: Options,
    /// A script; `-` reads it from standard input
    file: Option<String>,
    /// Arguments of the script: the array ARGS
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    args: Vec<String>,
}

#[derive(clap::Args)]
struct Options {
    /// Run code, as if typed at the prompt; may be repeated
    #[arg(short, value_name = "CODE", allow_hyphen_values = true)]
    e: Vec<String>,
    /// Stay at the prompt after a script or -e
    #[arg(short, long)]
    interactive: bool,
    /// A shipped machine, a YAML file, a zoneinfo text, a kernel log with a report, or a folder of captures
    #[arg(long, value_name = "M", default_value = import::shipped::DEFAULT)]
    machine: String,
    /// Of the reports in an imported log, explain the N-th
    #[arg(long, value_name = "N")]
    report: Option<usize>,
    /// Seed of the machine's dice
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Write a sysctl after boot: vm.swappiness=10
    #[arg(long, value_name = "NAME=VALUE")]
    set: Vec<String>,
    /// Show values as JSON, one document a line
    #[arg(long)]
    json: bool,
    /// Show the kernel log on standard error when a script ends
    #[arg(long)]
    log: bool,
    /// End a script after so many operations; 0 is no limit
    #[arg(long, value_name = "N")]
    max_ops: Option<u64>,
    /// Refuse files and programs of the host
    #[arg(long)]
    sandbox: bool,
    /// Colours
    #[arg(long, value_enum, default_value_t = Colour::Auto)]
    color: Colour,
    /// Do not read rc.rhai
    #[arg(long)]
    no_rc: bool,
    /// No banner, no notes
    #[arg(short, long)]
    quiet: bool,
    /// List the shipped machines
    #[arg(long)]
    list_machines: bool,
    /// Show the page of a command or function
    #[arg(long, value_name = "NAME", num_args = 0..=1, default_missing_value = "")]
    help_topic: Option<String>,
}

impl Options {
    /// How results and complaints look.
    fn manners(&self) -> Manners {
        Manners {
            theme: self.color.theme(&std::io::stdout()),
            complaints: self.color.theme(&std::io::stderr()),
            json: self.json,
        }
    }
}

#[derive(Clone, Copy, ValueEnum)]
enum Colour {
    Auto,
    Always,
    Never,
}

/// Runs the command line; answers the exit status.
pub fn run() -> u8 {
    let words: Vec<String> = std::env::args().skip(1).collect();
    if evidence::about_import(&words)
        .is_some_and(|(_, after)| after.iter().any(|word| word == "--help" || word == "-h"))
    {
        print(evidence::HELP);
        return 0;
    }
    let cli = match Cli::try_parse_from(evidence::reordered(&words)) {
        Ok(cli) => cli,
        Err(error) => {
            // Asked-for text goes to standard output, complaints to standard error; a closed pipe is no error.
            let _ = error.print();
            return if error.use_stderr() { USAGE } else { 0 };
        }
    };
    // Words, not clap's subcommands: a script's own arguments may be called anything.
    let status = match cli.file.as_deref() {
        Some("reference") => {
            print(&vmlab::shell::reference::markdown());
            Ok(0)
        }
        // A lab's machine to try things on: the prompt, with that line typed.
        Some("lab") if cli.args.first().is_some_and(|word| word == "try") => {
            let (e, quiet) = (vec![format!("lab {}", cli.args.join(" "))], true);
            session(Options { e, quiet, interactive: true, ..cli.options }, None, &[])
        }
        Some("lab") => {
            let out = Out::of_process();
            Ok(vmlab::lab::command::obey_words(
                &cli.args,
                &out,
                cli.options.manners(),
                vmlab::lab::command::SHELL,
            ))
        }
        Some("import") => evidence::imported(cli.options, &cli.args),
        Some("bench") => measured(&cli.options, &cli.args),
        _ => session(cli.options, cli.file, &cli.args),
    };
    status.unwrap_or_else(|complaint| {
        complain(&complaint);
        USAGE
    })
}

/// What the simulator's own operations cost here.
fn measured(options: &Options, words: &[String]) -> Result<u8, String> {
    if let Some(word) = words.first() {
        return Err(format!(
            "error: vmlab bench takes no {word}\n  help: the machine is chosen by --machine, JSON by --json"
        ));
    }
    let config = config(options)?;
    let rows = bench::measure(&config).map_err(|why| format!("error: {}: {why}", options.machine))?;
    if options.json {
        print(&format!("{}\n", bench::json(&rows, &config)));
    } else {
        let theme = options.manners().theme;
        print(&vmlab::shell::render::draw(&bench::table(&rows, &config), theme));
    }
    Ok(0)
}

/// A session as the options want it.
fn open(bench: Bench, options: &Options, args: &[String]) -> Session {
    let mut session = Session::new(bench, options.manners());
    session.interpreter.set_args(args);
    session.guests.push(vmlab::lab::prompt::GUEST);
    interruptible(&session);
    session
}

/// The prompt, a script, `-e`, or standard input.
fn session(options: Options, file: Option<String>, args: &[String]) -> Result<u8, String> {
    if options.list_machines {
        print(&machines(options.quiet, std::io::stdout().is_terminal()));
        return Ok(0);
    }
    // The script is read before the machine boots: a wrong name should not take a second to be noticed.
    let script = match file.as_deref() {
        None => None,
        Some("-") => Some(("-".to_string(), read_stdin()?)),
        Some(file) => Some((file.to_string(), read(file)?)),
    };
    let mut session = open(boot(&options)?, &options, args);
    if let Some(name) = &options.help_topic {
        return Ok(status(session.obey(&format!("help {name}"))));
    }
    let mut outcome = lines(&mut session, &options.e);
    if let Some((name, text)) = script.filter(|_| outcome == Outcome::Done) {
        outcome = session.run_script(&name, &text);
        if options.log {
            for line in session.kernel_log() {
                complain(&line);
            }
        }
    } else if options.e.is_empty() && file.is_none() {
        return if std::io::stdin().is_terminal() {
            prompt(session, &options, false)
        } else {
            Ok(piped(session))
        };
    }
    if options.interactive && !matches!(outcome, Outcome::Exit(_) | Outcome::Closed) {
        return prompt(session, &options, false);
    }
    Ok(status(outcome))
}

/// The shipped machines, a line each that begins with the name; heads are for people.
fn machines(names_only: bool, heads: bool) -> String {
    if names_only {
        return import::shipped::names().map(|name| format!("{name}\n")).collect();
    }
    let table = vmlab::shell::render::draw(&vmlab::script::machine::shipped(), Theme::PLAIN);
    table.lines().skip(usize::from(!heads)).map(|line| format!("{line}\n")).collect()
}

/// The lines of `-e`, until one fails.
fn lines(session: &mut Session, codes: &[String]) -> Outcome {
    for code in codes {
        let outcome = session.obey_lines(code, true);
        if outcome != Outcome::Done {
            return outcome;
        }
    }
    Outcome::Done
}

/// Standard input that is no terminal: lines as at the prompt, without one.
fn piped(mut session: Session) -> u8 {
    match read_stdin() {
        Ok(text) => status(session.obey_lines(&text, false)),
        Err(why) => {
            complain(&why);
            USAGE
        }
    }
}

#[cfg(unix)]
fn prompt(mut session: Session, options: &Options, past_stdin: bool) -> Result<u8, String> {
    use vmlab::shell::repl;
    if !options.quiet {
        print(&format!("{}\n", session.banner()));
    }
    session.keep_undo();
    if let Some(rc) = repl::rc_file().filter(|rc| !options.no_rc && rc.is_file()) {
        let text = read(&rc.display().to_string())?;
        if let Outcome::Exit(code) = session.run_script(&rc.display().to_string(), &text) {
            return Ok(code);
        }
    }
    repl::run(session, past_stdin).map_err(|why| format!("error: the prompt failed: {why}"))
}

#[cfg(not(unix))]
fn prompt(session: Session, _: &Options, _: bool) -> Result<u8, String> {
    Ok(piped(session))
}

fn status(outcome: Outcome) -> u8 {
    match outcome {
        Outcome::Done | Outcome::Closed => 0,
        Outcome::Failed => FAILED,
        Outcome::Exit(code) => code,
        Outcome::Interrupted => INTERRUPTED,
    }
}

/// The machine the options name.
fn boot(options: &Options) -> Result<Bench, String> {
    let config = config(options)?;
    // What is shipped is known; what was captured or written elsewhere is worth a look.
    let notes = !options.quiet && import::shipped::text(&options.machine).is_none();
    if notes {
        config.inferred.iter().for_each(|inferred| note(inferred));
    }
    let bench = put(options, config, &options.machine)?;
    if notes {
        let found = import::differences(&options.machine, &bench.borrow().machine);
        found.map_err(|why| format!("error: {why}"))?.iter().for_each(|found| note(&found.to_string()));
    }
    Ok(bench)
}

fn note(text: &str) {
    for line in wrap(&format!("note: {text}"), WIDTH) {
        complain(&line);
    }
}

fn config(options: &Options) -> Result<Config, String> {
    import::machine(&options.machine).map_err(|why| format!("error: {why}"))
}

/// A bench with the machine booted, and its sysctls as the options want them.
fn put(options: &Options, mut config: Config, name: &str) -> Result<Bench, String> {
    config.seed = options.seed.unwrap_or(config.seed);
    let mut machine = Machine::boot(config).map_err(|why| format!("error: {name}: {why}"))?;
    for setting in &options.set {
        let Some((name, value)) = setting.split_once('=') else {
            return Err(format!("error: --set {setting}: a name and a value are expected, vm.swappiness=10"));
        };
        machine
            .set_sysctl(name.trim(), value.trim())
            .map_err(|why| format!("error: --set {setting}: {why}"))?;
    }
    let mut limits = if options.sandbox { Limits::SANDBOX } else { Limits::PERSON };
    limits.operations = options.max_ops.unwrap_or(limits.operations);
    let out = Out::of_process();
    Ok(Bench::new(machine, limits, out))
}

/// Ctrl-C stops the running script; the second one, when the first has not been heeded, ends the program.
#[cfg(unix)]
fn interruptible(session: &Session) {
    use signal_hook::consts::SIGINT;
    let stop = session.bench.stop_switch();
    let registered =
        signal_hook::flag::register_conditional_shutdown(SIGINT, i32::from(INTERRUPTED), stop.clone())
            .and_then(|_| signal_hook::flag::register(SIGINT, stop));
    if let Err(why) = registered {
        complain(&format!("note: Ctrl-C ends the program here: {why}"));
    }
}

#[cfg(not(unix))]
fn interruptible(_: &Session) {}

impl Colour {
    fn theme(self, stream: &impl anstream::stream::RawStream) -> Theme {
        match self {
            Colour::Auto => Theme::of(stream),
            Colour::Always => Theme::COLOUR,
            Colour::Never => Theme::PLAIN,
        }
    }
}

fn read(file: &str) -> Result<String, String> {
    if Path::new(file).is_dir() {
        return Err(format!("error: {file} is a folder, not a script"));
    }
    let bytes = std::fs::read(file).map_err(|why| format!("error: {file}: {why}"))?;
    text(file, bytes)
}

fn read_stdin() -> Result<String, String> {
    let mut bytes = Vec::new();
    std::io::stdin().read_to_end(&mut bytes).map_err(|why| format!("error: standard input: {why}"))?;
    text("standard input", bytes)
}

fn text(file: &str, bytes: Vec<u8>) -> Result<String, String> {
    String::from_utf8(bytes).map_err(|_| format!("error: {file} is not text in UTF-8"))
}

/// Writes to standard output; a closed pipe is a quiet end.
fn print(text: &str) {
    let mut out = std::io::stdout().lock();
    if let Err(why) = out.write_all(text.as_bytes()).and_then(|()| out.flush())
        && why.kind() != std::io::ErrorKind::BrokenPipe
    {
        complain(&format!("error: results could not be written: {why}"));
    }
}

/// Writes a line to standard error, if anybody reads it.
pub fn complain(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// What a panic says: whose fault it is, and how to see it again.
pub fn report_bug(panic: &str) {
    let args: Vec<String> = std::env::args().skip(1).map(|arg| shell_word(&arg)).collect();
    complain(&format!(
        "error: this is a bug in vmlab, not in your script\n  {}\n  help: please report it; replay with: vmlab {}",
        panic.replace('\n', "\n  "),
        args.join(" ")
    ));
}

fn shell_word(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:,".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.into()
    } else {
        format!("'{}'", word.replace('\'', "'\\''"))
    }
}
