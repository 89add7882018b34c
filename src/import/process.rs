//! Evidence of a process: its areas as /proc tells them, or its calls as strace wrote them, laid out on a machine.
//!
//! ```text
//!   maps, smaps, pmap      areas  ──►  a task with these areas; smaps and pmap -x also say what was in memory
//!   strace -f -y log       calls  ──►  the calls done again; with maps beside it, what execve laid out is known
//! ```
//!
//! Fidelity: not of the kernel — it only sorts what it is given.

use crate::import::ImportError;
use crate::import::maps::{self, Maps};
use crate::import::pmap;
use crate::import::replay::{self, Replay};
use crate::import::strace::{self, Log};
use crate::mm::Machine;
use crate::mm::exec::recorded::Resident;
use crate::mm::task::Pid;

/// What is known of a process.
pub enum Process {
    /// Its areas.
    Areas {
        /// The file they stand in.
        file: String,
        /// The areas.
        maps: Maps,
    },
    /// Its calls.
    Calls {
        /// The file they stand in.
        file: String,
        /// The calls.
        log: Log,
        /// Its areas at some time after execve.
        maps: Option<Maps>,
    },
}

/// What came of it on a machine.
pub enum LaidOut {
    /// A task with the areas, and which pages it was given.
    Task(Pid, Resident),
    /// What the calls came to.
    Replay(Replay),
}

impl Process {
    /// What these texts tell of a process; `None` when they tell of a machine, or of nothing.
    ///
    /// # Errors
    /// The line that is wrong.
    pub fn of(texts: &[(String, String)]) -> Option<Result<Process, ImportError>> {
        match texts {
            [(file, text)] if maps::is_one(text) => {
                Some(maps::parse(file, text).map(|maps| Process::Areas { file: file.clone(), maps }))
            }
            [(file, text)] if strace::is_one(text) => Some(calls(file, text, None)),
            [one, two] => match (strace::is_one(&one.1), strace::is_one(&two.1)) {
                (true, false) if maps::is_one(&two.1) => Some(calls(&one.0, &one.1, Some(two))),
                (false, true) if maps::is_one(&one.1) => Some(calls(&two.0, &two.1, Some(one))),
                _ => None,
            },
            [(file, text)] if pmap::is_one(text) => {
                Some(pmap::parse(file, text).map(|maps| Process::Areas { file: file.clone(), maps }))
            }
            _ => None,
        }
    }

    /// Is it of a 32-bit process?
    pub fn is_32bit(&self) -> bool {
        let maps = match self {
            Process::Areas { maps, .. } => Some(maps),
            Process::Calls { maps, .. } => maps.as_ref(),
        };
        maps.is_some_and(|maps| maps.narrow)
    }

    /// Lays it out on a machine.
    ///
    /// # Errors
    /// When there is no room for it, or a call makes no sense.
    pub fn lay_out(&self, machine: &mut Machine) -> Result<LaidOut, ImportError> {
        match self {
            Process::Areas { file, maps } => {
                let pid = machine.spawn_recorded(&comm(maps), &maps.areas).map_err(|errno| {
                    ImportError::new(file.clone(), format!("the areas do not fit on the machine: {errno}"))
                        .advise("Choose another one: vmlab --machine x86_64-4G import FILE")
                })?;
                let resident = machine.recall_recorded(pid, &maps.areas);
                Ok(LaidOut::Task(pid, resident))
            }
            Process::Calls { file, log, maps } => {
                replay::replay(machine, file, log, maps.as_ref()).map(LaidOut::Replay)
            }
        }
    }
}

fn calls(file: &str, text: &str, companion: Option<&(String, String)>) -> Result<Process, ImportError> {
    let maps = companion.map(|(file, text)| maps::parse(file, text)).transpose()?;
    Ok(Process::Calls { file: file.into(), log: strace::parse(file, text)?, maps })
}

/// What the task is called: as its command, if that is known, else as its program, the first file that is mapped.
fn comm(maps: &Maps) -> String {
    let told = maps.command.split_whitespace().next();
    let program = || maps.areas.iter().map(|area| &*area.name).find(|name| name.starts_with('/'));
    let name = told.or_else(program).and_then(|path| path.rsplit('/').next()).filter(|name| !name.is_empty());
    name.unwrap_or("recorded").chars().filter(|c| !c.is_control()).take(15).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAPS: &str = "\
55f85685f000-55f85688e000 r--p 00000000 fe:00 247003                     /usr/bin/bash
7f5aa715d000-7f5aa7160000 rw-p 00000000 00:00 0 
7ffd5f6f5000-7ffd5f716000 rw-p 00000000 00:00 0                          [stack]
";
    const CALLS: &str =
        "mmap(NULL, 8192, PROT_READ|PROT_WRITE, MAP_PRIVATE|MAP_ANONYMOUS, -1, 0) = 0x7f0000000000\n";

    fn of(texts: &[&str]) -> Option<Result<Process, ImportError>> {
        let texts: Vec<_> = texts.iter().enumerate().map(|(n, t)| (format!("f{n}"), t.to_string())).collect();
        Process::of(&texts)
    }

    #[test]
    fn a_process_is_told_by_its_content() {
        assert!(matches!(of(&[MAPS]), Some(Ok(Process::Areas { maps, .. })) if maps.areas.len() == 3));
        assert!(matches!(of(&[CALLS]), Some(Ok(Process::Calls { maps: None, .. }))));
        assert!(matches!(of(&[MAPS, CALLS]), Some(Ok(Process::Calls { maps: Some(_), .. }))));
        let pmap = "12:   bash\n000055f85685f000    188K r---- bash\n";
        assert!(
            matches!(of(&[pmap]), Some(Ok(Process::Areas { maps, .. })) if maps.source == maps::Source::Pmap)
        );
        assert!(of(&["Dear Sir\n"]).is_none() && of(&["mem: 64M\n"]).is_none());
    }

    #[test]
    fn areas_become_a_task_and_calls_are_done_again() {
        let mut machine = Machine::boot(crate::import::shipped::get("x86_64-256M").unwrap()).unwrap();
        let LaidOut::Task(pid, _) = of(&[MAPS]).unwrap().unwrap().lay_out(&mut machine).unwrap() else {
            panic!("areas make a task");
        };
        assert_eq!(machine.tasks[&pid].comm.as_str(), "bash");
        let LaidOut::Replay(done) = of(&[CALLS]).unwrap().unwrap().lay_out(&mut machine).unwrap() else {
            panic!("calls are replayed");
        };
        assert_eq!(done.calls.values().sum::<u64>(), 1);
        machine.check().unwrap();
    }
}
