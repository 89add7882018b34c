//! Files of /proc and /sys: each format is made here once, and checked against recordings of real kernels.
//!
//! ```text
//!   cat("/proc/zoneinfo") ──► FILES ──► zoneinfo::table(&machine) ──► text and rows
//!   echo("10", "/proc/sys/vm/swappiness") ──► the machine's own sysctl
//! ```
//!
//! Kernel: `fs/proc/`, `mm/vmstat.c`, `drivers/base/node.c`.

pub mod buddyinfo;
pub mod extfrag;
pub mod meminfo;
pub mod page_owner;
pub mod pagetypeinfo;
pub mod pid;
pub mod slabinfo;
pub mod swaps;
pub mod vmallocinfo;
pub mod vmstat;
pub mod zoneinfo;

use crate::mm::Machine;
use crate::mm::config::ThpMode;
use crate::script::answer::{ScriptResult, misuse};
use crate::script::args;
use crate::script::bench::Bench;
use crate::script::handles::cpu_list;
use crate::script::suggest::nearest;
use crate::script::table::Table;
use crate::script::takes::{FilePath, WritablePath};
use rhai::plugin::*;

/// Files of /proc and /sys, as the kernel prints them.
#[export_module]
pub mod functions {
    /// Reads a file of the simulated machine's /proc or /sys.
    ///
    /// ```vmlab
    /// > cat /proc/buddyinfo
    /// Node 0, zone      DMA      0      0      0      0      0      0      0      0      0      0      3
    /// > cat("/proc/meminfo").lines[0]
    /// MemTotal:          12288 kB
    /// > cat("/proc/zoneinfo").rows[1].min
    /// 0
    /// > cat /proc/sys/vm/swappiness
    /// 60
    /// > spawn("app");
    /// > cat /proc/3/maps
    /// 7ffff7ff9000-7ffff7ffd000 r--p 00000000 00:00 0                          [vvar]
    /// 7ffff7ffd000-7ffff7fff000 r-xp 00000000 00:00 0                          [vdso]
    /// 7ffffffde000-7ffffffff000 rw-p 00000000 00:00 0                          [stack]
    /// > cat /proc/self/comm
    /// script
    /// > cat /proc/meminf
    /// error: /proc/meminf: no such file on this machine; did you mean /proc/meminfo?
    /// ```
    ///
    /// Kernel: `fs/proc/`, `mm/vmstat.c`.
    /// Command: `cat /proc/meminfo`
    #[rhai_fn(return_raw)]
    pub fn cat(ctx: NativeCallContext, path: FilePath) -> ScriptResult<Table> {
        super::read(&mut Bench::of(&ctx).borrow_to_look().machine, &path)
    }

    /// Writes a text into a file of the simulated machine's /proc or /sys, or prints it.
    ///
    /// ```vmlab
    /// > echo 10 > /proc/sys/vm/swappiness
    /// > cat /proc/sys/vm/swappiness
    /// 10
    /// > let p = spawn("app");
    /// > echo 500 > /proc/3/oom_score_adj
    /// > p.oom_score_adj
    /// 500
    /// > echo 1 > /proc/sys/vm/compact_memory
    /// > echo("1", "/proc/buddyinfo")
    /// error: /proc/buddyinfo: EACCES (Permission denied): the file cannot be written
    /// > echo hello
    /// hello
    /// ```
    ///
    /// Kernel: `kernel/sysctl.c`.
    /// Command: `echo 10 > /proc/sys/vm/swappiness`
    #[rhai_fn(return_raw)]
    pub fn echo(ctx: NativeCallContext, text: Dynamic, path: WritablePath) -> ScriptResult<Dynamic> {
        if !path.starts_with("/proc/") && !path.starts_with("/sys/") {
            // `echo a b` at the prompt: words, not a file.
            return Ok(format!("{text} {path}").into());
        }
        super::write(&mut Bench::of(&ctx).borrow_mut().machine, &path, text.to_string().trim())?;
        Ok(Dynamic::UNIT)
    }

    /// Where each page of a task is, from an address on: what /proc/PID/pagemap says, in words.
    ///
    /// Bit 55, soft-dirty, tells what was written since `echo 4 > /proc/PID/clear_refs`.
    ///
    /// ```vmlab
    /// > let p = spawn("app");
    /// > let a = mmap(p, 0, "16k", PROT_READ|PROT_WRITE, MAP_PRIVATE|MAP_ANONYMOUS);
    /// > touch(p, a, "8k");
    /// > echo 4 > /proc/3/clear_refs
    /// > write(p, a, 1);
    /// > pagemap(p, a, 3)
    /// VIRTUAL       ENTRY             PFN / SWAP        FLAGS
    /// 7ffff7ff5000  8180000000000801  801               present exclusive soft-dirty
    /// 7ffff7ff6000  8100000000000802  802               present exclusive
    /// 7ffff7ff7000  0000000000000000  -
    /// ```
    ///
    /// Kernel: `pte_to_pagemap_entry`, `clear_refs_write`, `fs/proc/task_mmu.c`.
    #[rhai_fn(return_raw)]
    pub fn pagemap(
        ctx: NativeCallContext,
        p: args::Who,
        addr: args::Addr,
        pages: i64,
    ) -> ScriptResult<Table> {
        let bench = Bench::of(&ctx);
        let desk = bench.borrow();
        let pid = args::who(&desk, &p)?;
        let addr = crate::mm::addr::VirtAddr(args::addr("addr", &addr)?);
        let Ok(pages @ 1..=pid::pagemap::MOST) = u64::try_from(pages) else {
            return misuse(format!("pages is {pages}, but must be from 1 to {}", pid::pagemap::MOST));
        };
        match desk.machine.tasks.get(&pid).and_then(|t| t.mm) {
            Some(mm) => Ok(pid::pagemap::pagemap(&desk.machine, mm, addr, pages)),
            None => Ok(Table::new()),
        }
    }

    /// Presses the magic SysRq key: `m` shows memory, here and in the kernel log.
    ///
    /// ```vmlab
    /// > sysrq m | head -4
    /// sysrq: Show Memory
    /// Mem-Info:
    /// active_anon:0 inactive_anon:0 isolated_anon:0
    ///  active_file:0 inactive_file:0 isolated_file:0
    /// > echo m > /proc/sysrq-trigger
    /// > log | grep -c "Show Memory"
    /// 2
    /// > sysrq("q")
    /// error: sysrq("q"): only the key m is simulated: it shows memory
    ///  --> 1:7
    ///   |
    /// 1 | sysrq("q")
    ///   |       ^^^
    /// ```
    ///
    /// Kernel: `sysrq_handle_showmem`, `drivers/tty/sysrq.c`; `__show_mem`, `lib/show_mem.c`.
    /// Command: `sysrq m`
    #[rhai_fn(return_raw)]
    pub fn sysrq(ctx: NativeCallContext, key: &str) -> ScriptResult<Table> {
        match key {
            "m" => {
                let lines = Bench::of(&ctx).borrow_mut().machine.sysrq_show_memory();
                Ok(Table::lines(&lines.join("\n")))
            }
            key => misuse(format!("sysrq({key:?}): only the key m is simulated: it shows memory")),
        }
    }

    #[rhai_fn(name = "echo")]
    pub fn echo_text(text: Dynamic) -> String {
        text.to_string()
    }
}

type Reader = fn(&Machine) -> Table;

/// The files that a view makes.
const FILES: &[(&str, Reader)] = &[
    ("/proc/buddyinfo", buddyinfo::table),
    ("/proc/cmdline", cmdline),
    ("/proc/iomem", iomem),
    ("/proc/meminfo", meminfo::table),
    ("/proc/pagetypeinfo", pagetypeinfo::table),
    ("/proc/slabinfo", slabinfo::table),
    ("/proc/swaps", swaps::table),
    ("/proc/sys/fs/dentry-state", crate::script::dcache::dentry_state_file),
    ("/proc/sys/fs/inode-nr", crate::script::dcache::inode_nr),
    ("/proc/sys/fs/inode-state", crate::script::dcache::inode_state),
    ("/proc/version", version),
    ("/proc/vmallocinfo", vmallocinfo::table),
    ("/proc/vmstat", vmstat::table),
    ("/proc/zoneinfo", zoneinfo::table),
    ("/sys/devices/system/node/online", online),
    ("/sys/kernel/debug/memblock/memory", crate::script::memblock::debugfs_memory),
    ("/sys/kernel/debug/memblock/reserved", crate::script::memblock::debugfs_reserved),
    ("/sys/kernel/debug/extfrag/extfrag_index", extfrag::index),
    ("/sys/kernel/debug/extfrag/unusable_index", extfrag::unusable),
    (THP, thp),
];

const THP: &str = "/sys/kernel/mm/transparent_hugepage/enabled";

/// A file that is only written: each letter is a key.
const SYSRQ_TRIGGER: &str = "/proc/sysrq-trigger";

/// Was this machine's kernel built with what makes the file?
fn exists(machine: &Machine, path: &str) -> bool {
    !path.starts_with("/sys/kernel/debug/") || machine.config.arch.has_debugfs()
}

/// Every file that can be read or written, for completion and *did you mean*.
pub fn paths(machine: &Machine) -> Vec<String> {
    let mut paths: Vec<String> =
        FILES.iter().map(|(path, _)| path.to_string()).filter(|path| exists(machine, path)).collect();
    paths.push(SYSRQ_TRIGGER.into());
    paths.extend(pid::paths(machine));
    paths.extend(machine.sysctl_names().iter().map(|name| format!("/proc/sys/vm/{name}")));
    paths.extend(
        crate::mm::sysctl::OURS.iter().map(|(name, _)| format!("/proc/sys/{}", name.replace('.', "/"))),
    );
    paths.extend(machine.page_owner.enabled.then(|| page_owner::PATH.to_string()));
    for node in &machine.nodes {
        paths.extend(
            ["cpulist", "distance", "meminfo"]
                .map(|f| format!("/sys/devices/system/node/node{}/{f}", node.nid)),
        );
    }
    paths.sort();
    paths
}

/// Every file that can be written.
pub fn writable_paths(machine: &Machine) -> Vec<String> {
    let mut paths: Vec<String> =
        machine.sysctl_names().iter().map(|name| format!("/proc/sys/vm/{name}")).collect();
    paths.push("/proc/sys/vm/compact_memory".into());
    paths.extend(machine.config.thp.map(|_| THP.to_string()));
    paths.extend(pid::writable_paths(machine));
    paths.sort();
    paths.dedup();
    paths
}

/// Reads a file.
pub fn read(machine: &mut Machine, path: &str) -> ScriptResult<Table> {
    if let Some((_, reader)) = FILES.iter().find(|(file, _)| *file == path && exists(machine, path)) {
        return Ok(reader(machine));
    }
    if let Some(table) = pid::split(machine, path).and_then(|(pid, file)| pid::read(machine, pid, file)) {
        return Ok(table);
    }
    if path == SYSRQ_TRIGGER {
        return misuse(format!("{path}: EIO (Input/output error): the file can only be written"));
    }
    if path == page_owner::PATH && machine.page_owner.enabled {
        machine.drain_all_pages(None);
        return Ok(page_owner::table(machine));
    }
    if path == page_owner::PATH {
        return misuse(format!(
            "{path}: no such file on this machine: page owner is off; boot(machine, \"page_owner=on\"), or page_owner(\"on\")"
        ));
    }
    if let Some(name) = sysctl_of(path) {
        // Reading lowmem_reserve_ratio has an effect, as in the kernel.
        if let Ok(value) = machine.sysctl(name) {
            return Ok(Table::lines(&value));
        }
    }
    if let Some((nid, file)) =
        path.strip_prefix("/sys/devices/system/node/node").and_then(|rest| rest.split_once('/'))
    {
        let node = nid.parse().ok().and_then(|nid| machine.node_index(crate::mm::addr::Nid(nid)));
        match (node, file) {
            (Some(node), "distance") => {
                let distances = machine.nodes[node].distances.iter().map(u8::to_string);
                return Ok(Table::lines(&distances.collect::<Vec<_>>().join(" ")));
            }
            (Some(node), "cpulist") => {
                return Ok(Table::lines(&cpu_list(&machine.nodes[node].cpus).replace("none", "")));
            }
            (Some(node), "meminfo") => return Ok(meminfo::node_table(machine, node)),
            _ => {}
        }
    }
    if let Some(why) = pid::split(machine, path).and_then(|(pid, file)| pid::refused(machine, pid, file)) {
        return misuse(format!("{path}: {why}"));
    }
    let paths = paths(machine);
    let near = nearest(path, paths.iter().map(String::as_str));
    let help = near.first().map(|near| format!("; did you mean {near}?")).unwrap_or_default();
    misuse(format!("{path}: no such file on this machine{help}"))
}

/// Writes into a file.
pub fn write(machine: &mut Machine, path: &str, text: &str) -> ScriptResult<()> {
    if let Some(node) = node_compact(machine, path) {
        // Any text will do, as in the kernel.
        machine.compact_node(node);
        return Ok(());
    }
    if let Some(name) = sysctl_of(path) {
        match name {
            // Any number but 1 is refused, as in the kernel.
            "compact_memory" if text == "1" => {
                machine.compact_memory();
                return Ok(());
            }
            "compact_memory" => return misuse(format!("{path}: EINVAL (Invalid argument): it takes 1")),
            "drop_caches" => match text.parse() {
                Ok(what @ 1..=4) => {
                    machine.drop_caches(what);
                    return Ok(());
                }
                _ => return misuse(format!("{path}: EINVAL (Invalid argument): it takes 1 to 4")),
            },
            _ => {}
        }
        return machine.set_sysctl(name, text).or_else(|why| misuse(format!("{path}: {}", why.what)));
    }
    if let Some(written) =
        pid::split(machine, path).and_then(|(pid, file)| pid::write(machine, pid, file, text))
    {
        return written;
    }
    if path == THP {
        return match (machine.config.thp, ThpMode::from_name(text)) {
            (None, _) => misuse(format!("{path}: this kernel was built without huge pages")),
            (Some(_), Some(mode)) => {
                machine.set_thp(mode);
                Ok(())
            }
            (Some(_), None) => {
                misuse(format!("{path} takes always, madvise or never, not {}", args::describe(&text.into())))
            }
        };
    }
    if path == SYSRQ_TRIGGER {
        if text != "m" {
            return misuse(format!("{path}: only the key m is simulated: it shows memory"));
        }
        machine.sysrq_show_memory();
        return Ok(());
    }
    match FILES.iter().any(|(file, _)| *file == path) {
        true => misuse(format!("{path}: EACCES (Permission denied): the file cannot be written")),
        false => misuse(format!("{path}: no such file on this machine")),
    }
}

fn cmdline(machine: &Machine) -> Table {
    Table::lines(&machine.config.cmdline)
}

/// The tunable behind a path: `swappiness` of `/proc/sys/vm/swappiness`; those of `vmlab` keep their prefix.
fn sysctl_of(path: &str) -> Option<&str> {
    let name = path.strip_prefix("/proc/sys/")?;
    name.strip_prefix("vm/").or((name.starts_with("vmlab/") || name.starts_with("kernel/")).then_some(name))
}

/// The node behind `/sys/devices/system/node/node0/compact`.
fn node_compact(machine: &Machine, path: &str) -> Option<usize> {
    let nid = path.strip_prefix("/sys/devices/system/node/node")?.strip_suffix("/compact")?;
    machine.node_index(crate::mm::addr::Nid(nid.parse().ok()?))
}

fn iomem(machine: &Machine) -> Table {
    Table::lines(&machine.config.iomem.join("\n"))
}

fn version(machine: &Machine) -> Table {
    Table::lines(&format!("Linux version {} (vmlab {})", machine.config.kernel, env!("CARGO_PKG_VERSION")))
}

fn online(machine: &Machine) -> Table {
    let nids: Vec<u8> = machine.nodes.iter().map(|n| n.nid.0).collect();
    Table::lines(&crate::mm::machine::range_list(&nids))
}

/// `always [madvise] never`.
fn thp(machine: &Machine) -> Table {
    let modes = [ThpMode::Always, ThpMode::Madvise, ThpMode::Never];
    let shown =
        modes.map(|mode| if mode == machine.thp { format!("[{}]", mode.name()) } else { mode.name().into() });
    Table::lines(&shown.join(" "))
}
