//! `ps`, `set`, `task`, `foreach`, `swap`: tasks, and where their pages go.

use crate::shell::crash::{Spelling, task};
use crate::shell::words::quoted;
use clap::Args;

/// Lists tasks: kernel threads in brackets, > before those that run, DE for the dead.
#[derive(Args)]
#[command(verbatim_doc_comment)]
pub struct Ps {
    /// Kernel threads only
    #[arg(short = 'k')]
    kernel: bool,
    /// User tasks only
    #[arg(short = 'u', conflicts_with = "kernel")]
    user: bool,
    /// Thread group leaders only
    #[arg(short = 'G')]
    leaders: bool,
    /// Tasks that run on a CPU now
    #[arg(short = 'A')]
    active: bool,
    /// How many tasks stand how
    #[arg(short = 'S')]
    summary: bool,
    /// The limits of each task
    #[arg(short = 'r')]
    limits: bool,
    /// What each program was called with
    #[arg(short = 'a')]
    arguments: bool,
    /// Since when each task runs
    #[arg(short = 't')]
    times: bool,
    /// Kernel stacks in place of tasks
    #[arg(short = 's')]
    stack: bool,
    /// Who ran last, first
    #[arg(short = 'm')]
    last_run: bool,
    /// Pids, addresses of tasks, names
    #[arg(value_name = "PID|TASK|COMMAND")]
    tasks: Vec<String>,
}

impl Spelling for Ps {
    const NAME: &'static str = "ps";
    const SEE_ALSO: &'static [&'static str] = &["vm", "set", "task", "foreach", "tasks", "why"];
    const PLAIN: bool = true;

    fn script(&self) -> Result<String, String> {
        let options = [
            (self.kernel, "-k"),
            (self.user, "-u"),
            (self.leaders, "-G"),
            (self.active, "-A"),
            (self.summary, "-S"),
            (self.limits, "-r"),
            (self.arguments, "-a"),
            (self.times, "-t"),
            (self.stack, "-s"),
            (self.last_run, "-m"),
        ];
        let options = options.into_iter().filter(|(on, _)| *on).map(|(_, option)| option.to_string());
        let words: Vec<String> = options.chain(self.tasks.iter().cloned()).collect();
        Ok(if words.is_empty() { "ps()".into() } else { format!("ps({})", quoted(&words.join(" "))) })
    }

    fn by_hand(&self) -> Option<String> {
        Some("for t in tasks() { print(`${t.pid} ${t.comm} ${t.rss}`); }".into())
    }
}

/// Chooses the task that vm and vtop are about, or shows the chosen one.
#[derive(Args)]
#[command(verbatim_doc_comment)]
pub struct Set {
    /// The task that a CPU runs
    #[arg(short = 'c', value_name = "CPU", conflicts_with = "task")]
    cpu: Option<String>,
    /// A pid, or the address of a task
    #[arg(value_name = "PID")]
    task: Option<String>,
}

impl Spelling for Set {
    const NAME: &'static str = "set";
    const SEE_ALSO: &'static [&'static str] = &["ps", "vm", "vtop"];
    const PLAIN: bool = true;

    fn script(&self) -> Result<String, String> {
        if let Some(cpu) = &self.cpu {
            return match cpu.parse::<u16>() {
                Ok(cpu) => Ok(format!("set_context_to_cpu({cpu})")),
                Err(_) => Err(format!("invalid cpu number: {cpu}")),
            };
        }
        Ok(match &self.task {
            Some(word) => format!("set_context({})", task(word)),
            None => "set_context()".into(),
        })
    }
}

/// Shows what stands in the structure of a task.
#[derive(Args)]
#[command(verbatim_doc_comment)]
pub struct Task {
    /// A pid, or the address of a task
    #[arg(value_name = "PID", required = true)]
    task: String,
}

impl Spelling for Task {
    const NAME: &'static str = "task";
    const SEE_ALSO: &'static [&'static str] = &["ps", "set", "vm"];
    const PLAIN: bool = true;

    fn script(&self) -> Result<String, String> {
        Ok(format!("task_struct({})", task(&self.task)))
    }
}

/// Does vm, vtop, set, task or ps for many tasks.
///
/// Words before the command choose the tasks: pids, names, user, kernel; without them it is for all.
#[derive(Args)]
#[command(verbatim_doc_comment)]
pub struct Foreach {
    /// Tasks, the command, and its words
    #[arg(
        value_name = "TASK... COMMAND...",
        required = true,
        trailing_var_arg = true,
        allow_hyphen_values = true
    )]
    words: Vec<String>,
}

impl Spelling for Foreach {
    const NAME: &'static str = "foreach";
    const SEE_ALSO: &'static [&'static str] = &["ps", "vm", "vtop"];
    const PLAIN: bool = true;

    fn script(&self) -> Result<String, String> {
        Ok(format!("foreach({})", quoted(&self.words.join(" "))))
    }
}

/// Shows swap areas: size, use and priority.
#[derive(Args)]
#[command(verbatim_doc_comment)]
pub struct Swap {}

impl Spelling for Swap {
    const NAME: &'static str = "swap";
    const SEE_ALSO: &'static [&'static str] = &["swapon", "cat /proc/swaps", "kmem -i"];

    fn script(&self) -> Result<String, String> {
        Ok("swap()".into())
    }
}
