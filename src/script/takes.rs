//! What an argument takes: the type in a signature says it, and completion reads it there.
//!
//! | alias in a signature | is | offered |
//! |---|---|---|
//! | [`TaskPid`], `Who` | an int; a task or a pid | pids of tasks that live |
//! | [`NodeNumber`], [`CpuNumber`], [`SnapshotNumber`] | an int | those that there are |
//! | [`FilePath`], [`WritablePath`] | a string | files of /proc and /sys |
//! | [`ZoneName`], [`SysctlName`], [`CounterName`], [`SwapName`] | a string | the names on this machine |
//! | [`MachineSpec`] | a name, a file or a map | the shipped machines |
//! | `GfpMask` | a mask | the flags |
//!
//! To the engine the aliases are what they stand for.
//! A string without such a type is completed by the words of the function's `Command:` examples.

use crate::script::bench::Desk;
use rhai::{Dynamic, ImmutableString};

/// The pid of a task.
pub type TaskPid = i64;
/// The number of a node.
pub type NodeNumber = i64;
/// The number of a CPU.
pub type CpuNumber = i64;
/// The number of a snapshot.
pub type SnapshotNumber = i64;
/// A file of /proc or /sys.
pub type FilePath = ImmutableString;
/// A file of /proc or /sys that can be written.
pub type WritablePath = ImmutableString;
/// The name of a zone: `DMA32`.
pub type ZoneName = ImmutableString;
/// The name of a tunable: `vm.swappiness`.
pub type SysctlName = ImmutableString;
/// The name of a counter of /proc/vmstat.
pub type CounterName = ImmutableString;
/// The name of a swap area in use.
pub type SwapName = ImmutableString;
/// A machine: a shipped one's name, a file, or a map.
pub type MachineSpec = Dynamic;

/// What an argument takes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Takes {
    /// A task: its pid.
    Task,
    /// A node's number.
    Node,
    /// A CPU's number.
    Cpu,
    /// A snapshot's number.
    Snapshot,
    /// A file of /proc or /sys.
    Path,
    /// The same, but one that can be written.
    Writable,
    /// A zone's name.
    Zone,
    /// A tunable's name.
    Sysctl,
    /// A counter's name.
    Counter,
    /// A swap area's name.
    Swap,
    /// A slab cache's name.
    Cache,
    /// A structure of the kernel.
    Structure,
    /// Members of `struct page`, parted by commas.
    Member,
    /// A shipped machine's name.
    Machine,
    /// Get-free-page flags.
    Gfp,
    /// An address.
    Address,
    /// A command's or function's name.
    Topic,
    /// A text that only the function knows.
    Text,
    /// A number or a value of which nothing is known.
    Other,
}

/// Types of parameters: the alias, what it takes, and what a script's author calls it.
const ALIASES: &[(&str, Takes, &str)] = &[
    ("TaskPid", Takes::Task, "int"),
    ("Who", Takes::Task, "task"),
    ("FileArg", Takes::Other, "file"),
    ("NodeNumber", Takes::Node, "int"),
    ("CpuNumber", Takes::Cpu, "int"),
    ("SnapshotNumber", Takes::Snapshot, "int"),
    ("FilePath", Takes::Path, "string"),
    ("WritablePath", Takes::Writable, "string"),
    ("ZoneName", Takes::Zone, "string"),
    ("SysctlName", Takes::Sysctl, "string"),
    ("CounterName", Takes::Counter, "string"),
    ("SwapName", Takes::Swap, "string"),
    ("MachineSpec", Takes::Machine, "any"),
    ("GfpMask", Takes::Gfp, "gfp"),
    ("Addr", Takes::Address, "addr"),
];

/// What a script's author calls the type that an alias stands for.
pub fn stands_for(alias: &str) -> Option<&'static str> {
    ALIASES.iter().find(|(name, ..)| *name == alias).map(|(.., shown)| *shown)
}

impl Takes {
    /// What a parameter of this type takes, by the type's name in the source.
    pub fn of_type(rust: &str) -> Takes {
        let name = rust.rsplit("::").next().unwrap_or_default().replace([' ', '&'], "");
        match ALIASES.iter().find(|(alias, ..)| *alias == name) {
            Some((_, takes, _)) => *takes,
            None if matches!(name.as_str(), "str" | "ImmutableString" | "String") => Takes::Text,
            None if matches!(name.as_str(), "TaskRef" | "mutTaskRef") => Takes::Task,
            None => Takes::Other,
        }
    }

    /// What stands on the machine now that would fit, each with a remark; flags, addresses and topics are not the
    /// machine's.
    pub fn live(self, desk: &Desk) -> Vec<(String, String)> {
        let machine = &desk.machine;
        let plain = |names: Vec<String>| names.into_iter().map(|name| (name, String::new())).collect();
        match self {
            Takes::Task => {
                let alive = machine.tasks.values().filter(|t| t.is_alive());
                alive.map(|t| (t.pid.to_string(), t.comm.to_string())).collect()
            }
            Takes::Node => plain(machine.nodes.iter().map(|n| n.nid.to_string()).collect()),
            Takes::Cpu => {
                plain(machine.nodes.iter().flat_map(|n| &n.cpus).map(ToString::to_string).collect())
            }
            Takes::Snapshot => plain((1..=desk.snapshots.len()).map(|n| n.to_string()).collect()),
            Takes::Path => plain(crate::script::proc::paths(machine)),
            Takes::Writable => plain(crate::script::proc::writable_paths(machine)),
            Takes::Zone => plain(machine.zones.iter().map(|z| z.kind.name().to_string()).collect()),
            Takes::Sysctl => {
                let value = |name: &str| machine.peek_sysctl(name).unwrap_or_default();
                machine.sysctl_names().into_iter().map(|name| (format!("vm.{name}"), value(name))).collect()
            }
            Takes::Counter => {
                let counters = crate::script::proc::vmstat::counters(machine);
                plain(counters.into_iter().map(|(name, _)| name).collect())
            }
            Takes::Swap => plain(
                machine.swap.iter().filter(|area| area.active).map(|area| area.name.to_string()).collect(),
            ),
            Takes::Machine => plain(crate::import::shipped::names().map(String::from).collect()),
            Takes::Cache => {
                plain(machine.caches.all.iter().map(|(_, cache)| cache.name().to_string()).collect())
            }
            Takes::Structure => plain(crate::script::structure::names().map(String::from).collect()),
            Takes::Member => plain(crate::script::kmem::members::names().map(String::from).collect()),
            Takes::Gfp | Takes::Address | Takes::Topic | Takes::Text | Takes::Other => Vec::new(),
        }
    }
}
