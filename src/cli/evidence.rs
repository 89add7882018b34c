//! `vmlab import`: evidence from a real machine becomes a machine or a process to try things on.

use super::{Options, config, lines, open, print, prompt, put, status};
use std::io::{IsTerminal, Read};
use std::path::Path;
use vmlab::import;
use vmlab::import::evidence::Evidence;
use vmlab::import::process::Process;
use vmlab::mm::config::Config;
use vmlab::script::imported;
use vmlab::shell::session::{Outcome, Session};

/// Evidence from a real machine: the report, and then the prompt, if somebody sits at the terminal.
pub(super) fn imported(options: Options, files: &[String]) -> Result<u8, String> {
    if files.is_empty() {
        return Err(
            "error: import what?\n  help: vmlab import FILE..., or - for standard input; --help says which"
                .into(),
        );
    }
    let stdin = || {
        let mut bytes = Vec::new();
        std::io::stdin().take(import::MAX_TEXT + 1).read_to_end(&mut bytes).map(|_| bytes)
    };
    if !files.iter().any(|file| Path::new(file).is_dir()) {
        let texts = Evidence::texts(files, stdin).map_err(|why| format!("error: {why}"))?;
        return match Process::of(&texts) {
            Some(process) => of_process(&options, files, &process.map_err(|why| format!("error: {why}"))?),
            None => {
                let made = Evidence::of(texts, options.report).map_err(|why| format!("error: {why}"))?;
                of_machine(&options, files, &made)
            }
        };
    }
    let evidence = Evidence::gather(files, options.report, stdin).map_err(|why| format!("error: {why}"))?;
    of_machine(&options, files, &evidence)
}

/// The words before `import` and those behind it, when it is what is to be done.
pub(super) fn about_import(words: &[String]) -> Option<(&[String], &[String])> {
    let at = words.iter().position(|word| word == "import")?;
    let (before, after) = (&words[..at], &words[at + 1..]);
    // Anything else than an option, or the value of one, would be a script with `import` among its arguments.
    let option = |n: usize| before[n].starts_with('-') || (n > 0 && before[n - 1].starts_with('-'));
    (0..before.len()).all(option).then_some((before, after))
}

/// The program's name and its words; options behind `import FILE` mean what they mean before it.
pub(super) fn reordered(words: &[String]) -> Vec<String> {
    const VALUED: [&str; 7] = ["-e", "--machine", "--report", "--seed", "--set", "--max-ops", "--color"];
    let name = std::iter::once("vmlab".to_string());
    let Some((before, after)) = about_import(words) else {
        return name.chain(words.iter().cloned()).collect();
    };
    let (mut options, mut files) = (before.to_vec(), Vec::new());
    let mut after = after.iter();
    while let Some(word) = after.next() {
        if !word.starts_with('-') || word == "-" {
            files.push(word.clone());
            continue;
        }
        options.push(word.clone());
        if VALUED.contains(&word.as_str()) {
            options.extend(after.next().cloned());
        }
    }
    name.chain(options).chain(["import".to_string()]).chain(files).collect()
}

/// A process: laid out on the machine of the options, or on a 32-bit one if it is of such a machine.
fn of_process(options: &Options, files: &[String], process: &Process) -> Result<u8, String> {
    let chosen = options.machine != import::shipped::DEFAULT;
    let narrow = process.is_32bit() && !chosen;
    let config = if narrow {
        import::machine("classic").map_err(|why| format!("error: {why}"))?
    } else {
        config(options)?
    };
    let bench = put(options, config, &options.machine)?;
    let mut session = open(bench, options, &[]);
    let laid_out = process.lay_out(&mut session.bench.borrow_mut().machine);
    let laid_out = laid_out.map_err(|why| format!("error: {why}"))?;
    let report = imported::process(process, &laid_out, &session.bench.borrow().machine);
    session.show(report);
    explored(session, options, files)
}

/// A machine: booted, reported on.
fn of_machine(options: &Options, files: &[String], evidence: &Evidence) -> Result<u8, String> {
    let config = match rebuilt(evidence, options) {
        Ok(config) => config,
        Err(why) => {
            let table = imported::report(evidence, Err(&why));
            print(&match options.json {
                true => format!("{}\n", vmlab::shell::render::json(&table)),
                false => vmlab::shell::render::draw(&table, options.manners().theme),
            });
            return Ok(0);
        }
    };
    let bench = put(options, config, "the machine")?;
    let mut session = open(bench, options, &[]);
    let report = imported::report(evidence, Ok(&session.bench.borrow().machine));
    session.show(report);
    explored(session, options, files)
}

/// The machine that the evidence shows, or why there is none.
///
/// A page that is in use costs a descriptor of this computer's memory: a large machine is made for who wants to go on it.
fn rebuilt(evidence: &Evidence, options: &Options) -> Result<Config, String> {
    const MOST: u64 = 16 << 20;
    let none = "No report shows the machine's zones: there is none to try things on.";
    let config = evidence.config.clone().ok_or(none)?;
    let zones = config.nodes.iter().flat_map(|node| &node.zones);
    let used: u64 = zones.map(|zone| zone.managed.saturating_sub(zone.free_pages())).sum();
    if used > MOST && options.e.is_empty() && !options.interactive {
        let mib = (used * size_of::<vmlab::mm::page::Page>() as u64) >> 20;
        return Err(format!(
            "The machine was not rebuilt: {used} of its pages are in use, and their descriptors take {mib} MiB of this computer's memory. vmlab --interactive import FILE goes on it."
        ));
    }
    Ok(config)
}

/// The lines of `-e`, and then the prompt, if somebody sits at the terminal.
fn explored(mut session: Session, options: &Options, files: &[String]) -> Result<u8, String> {
    let outcome = lines(&mut session, &options.e);
    let piped = !std::io::stdin().is_terminal() && files.iter().any(|file| file == "-");
    // Behind a pipe there may still be somebody: the log came through it, the terminal is theirs.
    let people = std::io::stdout().is_terminal() && (!piped || std::fs::File::open("/dev/tty").is_ok());
    let people = people && (piped || std::io::stdin().is_terminal());
    if outcome == Outcome::Done && (options.interactive || (people && options.e.is_empty() && !options.json))
    {
        return prompt(session, options, piped && people);
    }
    Ok(status(outcome))
}

/// What `vmlab import --help` says.
pub(super) const HELP: &str = "\
Evidence from a real machine: makes a machine of it, and reports.

Usage: vmlab [OPTIONS] import FILE...

  FILE  a kernel log, a capture, a folder of captures, a machine spec, or what is known of a process;
        `-` is standard input. Options may stand before `import` or behind it.

From a kernel log the reports on memory are read: `page allocation failure`, `invoked oom-killer`, and
the one of the key m. It is said why the request failed, with the line of each number, and the machine
is rebuilt. With several reports the first is taken that shows one, or the N-th: vmlab --report N import

Captures are told by name or content: /proc/zoneinfo, alone or with others of the same machine:
pagetypeinfo, buddyinfo, iomem, meminfo, swaps, the boot log (dmesg), `sysctl vm`, and for each node
nodeN-distance and nodeN-cpulist.

Of a process /proc/PID/maps or smaps is read, or what `pmap PID` prints (with -x, -X or -XX also what was
in memory), or a log of `strace -f -y -o FILE PROGRAM`, with its maps beside it: a task with these areas
is started on --machine M, or the calls are done again there.

  journalctl -k | vmlab import -
  vmlab import zoneinfo.txt dmesg.txt
  cat /proc/zoneinfo | vmlab import -
  vmlab import captures/ -e 'kmem -f'
  vmlab import /proc/self/smaps
  pmap -x 1234 | vmlab import -
";
