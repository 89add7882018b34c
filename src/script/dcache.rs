//! Names that were looked up, their inodes, and the shrinkers that give them back.
//!
//! Kernel: `fs/dcache.c`, `fs/inode.c`, `mm/vmscan.c`.

use crate::mm::Machine;
use crate::mm::errno::Errno;
use crate::mm::vmscan::shrink_slab::ShrinkWork;
use crate::script::answer::{OrErrno, ScriptResult, answer, misuse};
use crate::script::bench::Bench;
use crate::script::table::{Cell, Column, Table};
use rhai::plugin::*;

/// Names that were looked up, and shrinkers.
#[export_module]
pub mod functions {
    /// Looks a path up, as `stat` does: names that are not in the dentry cache come in, with their inodes.
    ///
    /// ```vmlab
    /// > lookup("/usr/bin/cc");
    /// > dentry_state()
    /// nr_dentry  nr_unused  nr_negative  nr_inodes  nr_free_inodes  hits  misses
    ///         4          1            0          4               0     0       4
    /// > for n in 0..100 { lookup(`/tmp/file${n}`); }
    /// > dentry_state().rows[0].nr_dentry
    /// 105
    /// > lookup("cc")
    /// error: lookup("cc"): a path begins with /
    ///  --> 1:8
    ///   |
    /// 1 | lookup("cc")
    ///   |        ^^^^
    /// ```
    ///
    /// Kernel: `path_lookupat`, `fs/namei.c`; `d_alloc`, `fs/dcache.c`. Gorman: 10.5.
    #[rhai_fn(return_raw)]
    pub fn lookup(ctx: NativeCallContext, path: &str) -> ScriptResult<OrErrno<()>> {
        super::walk(&ctx, path, true)
    }

    /// Looks up a path whose last name is not there when `exists` is false: the cache remembers that as well.
    ///
    /// ```vmlab
    /// > lookup("/lib/libm.so", false);
    /// > dentry_state().rows[0].nr_negative
    /// 1
    /// ```
    #[rhai_fn(name = "lookup", return_raw)]
    pub fn lookup_negative(ctx: NativeCallContext, path: &str, exists: bool) -> ScriptResult<OrErrno<()>> {
        super::walk(&ctx, path, exists)
    }

    /// How many dentries and inodes there are, and how many nobody uses: /proc/sys/fs/dentry-state and inode-state.
    ///
    /// ```vmlab
    /// > lookup("/a/b");
    /// > dentry_state()
    /// nr_dentry  nr_unused  nr_negative  nr_inodes  nr_free_inodes  hits  misses
    ///         3          1            0          3               0     0       3
    /// ```
    ///
    /// A negative dentry counts when it is unused, as in the kernel. Files that `create` makes are among them, and what the
    /// captured machine had in use.
    ///
    /// ```vmlab
    /// > create("/dev/shm/ring", 4096);
    /// > cat("/proc/sys/fs/inode-nr")
    /// 5	0
    /// ```
    ///
    /// Kernel: `proc_nr_dentry`, `fs/dcache.c`.
    /// Command: `dentry_state`
    pub fn dentry_state(ctx: NativeCallContext) -> Table {
        let bench = Bench::of(&ctx);
        let machine = &bench.borrow().machine;
        let dcache = &machine.dcache;
        let ([nr_dentry, unused, negative], [inodes, free]) = (dcache.state(), dcache.inode_state());
        let heads =
            ["nr_dentry", "nr_unused", "nr_negative", "nr_inodes", "nr_free_inodes", "hits", "misses"];
        let row =
            [nr_dentry, unused, negative, inodes, free, dcache.hits, dcache.misses].map(Cell::from).to_vec();
        let table = Table::grid(heads.map(|head| Column::right(head, 0)).to_vec(), vec![row]);
        match dcache.booted {
            0 => table,
            n => table.note(format!(
                "note: {n} of the dentries are of the captured machine: of which paths is not known"
            )),
        }
    }

    /// Gives back clean pages of files (1), dentries and inodes that nobody uses (2), or both (3).
    ///
    /// ```vmlab
    /// > pread(create("/data", "1M"), 0, "1M");
    /// > for n in 0..500 { lookup(`/tmp/${n}`); }
    /// > [open("/data").nrpages, dentry_state().rows[0].nr_dentry]
    /// [256, 503]
    /// > drop_caches(3);
    /// > [open("/data").nrpages, dentry_state().rows[0].nr_dentry]
    /// [0, 2]
    /// > log | tail -1
    /// [    0.000689] script (24): drop_caches: 3
    /// > drop_caches(0)
    /// error: drop_caches takes 1 (pages of files), 2 (dentries and inodes) or 3, not 0
    /// ```
    ///
    /// Kernel: `fs/drop_caches.c`. Gorman: 10.5.
    /// Command: `drop_caches 2`
    #[rhai_fn(return_raw)]
    pub fn drop_caches(ctx: NativeCallContext, what: i64) -> ScriptResult<()> {
        let Some(what) = u32::try_from(what).ok().filter(|what| (1..=3).contains(what)) else {
            return misuse(format!(
                "drop_caches takes 1 (pages of files), 2 (dentries and inodes) or 3, not {what}"
            ));
        };
        Bench::of(&ctx).borrow_mut().machine.drop_caches(what);
        Ok(())
    }

    /// Shrinkers: what each could give back on each node, what it put off, and its share at a priority from 12 to 0.
    ///
    /// ```vmlab
    /// > for n in 0..2000 { lookup(`/tmp/${n}`); }
    /// > shrinkers(6)
    /// SHRINKER      NODE  FREEABLE  DEFERRED  DELTA  TOTAL_SCAN  BATCH
    /// sb-ext4:vda1     0      2000         0     62          62   1024
    /// > echo("2", "/proc/sys/vm/drop_caches");
    /// > [vmstat("slabs_scanned") > 0, vmstat("drop_slab"), dentry_state().rows[0].nr_dentry]
    /// [true, 1, 1]
    /// > shrinkers(13)
    /// error: priority is 13, but must be from 0 (all) to 12 (a 4096th)
    /// ```
    ///
    /// Kernel: `do_shrink_slab`, `mm/vmscan.c`. Gorman: 10.5.
    #[rhai_fn(return_raw)]
    pub fn shrinkers(ctx: NativeCallContext, priority: i64) -> ScriptResult<Table> {
        let Some(priority) = u8::try_from(priority).ok().filter(|priority| *priority <= 12) else {
            return misuse(format!("priority is {priority}, but must be from 0 (all) to 12 (a 4096th)"));
        };
        Ok(super::table(&Bench::of(&ctx).borrow().machine, priority))
    }
}

/// `/proc/sys/fs/dentry-state`: dentries, unused ones, an age and a wish that nobody reads any more, negative ones.
pub(crate) fn dentry_state_file(machine: &Machine) -> Table {
    let [dentries, unused, negative] = machine.dcache.state();
    Table::lines(&format!("{dentries}\t{unused}\t45\t0\t{negative}\t0"))
}

/// `/proc/sys/fs/inode-nr`: inodes, and those without users.
pub(crate) fn inode_nr(machine: &Machine) -> Table {
    let [inodes, unused] = machine.dcache.inode_state();
    Table::lines(&format!("{inodes}\t{unused}"))
}

/// `/proc/sys/fs/inode-state`: the same, and five numbers that are always 0.
pub(crate) fn inode_state(machine: &Machine) -> Table {
    let [inodes, unused] = machine.dcache.inode_state();
    Table::lines(&format!("{inodes}\t{unused}\t0\t0\t0\t0\t0"))
}

fn walk(ctx: &NativeCallContext, path: &str, exists: bool) -> ScriptResult<OrErrno<()>> {
    let bench = Bench::of(ctx);
    let machine = &mut bench.borrow_mut().machine;
    match machine.lookup(path, exists) {
        Err(Errno::EINVAL) => misuse(format!("lookup({path:?}): a path begins with /")),
        Err(Errno::ENAMETOOLONG) => misuse(format!(
            "lookup: ENAMETOOLONG: a name has at most 255 bytes, a path 4095; this path has {}",
            path.len()
        )),
        result => Ok(answer(result)),
    }
}

fn table(machine: &Machine, priority: u8) -> Table {
    let columns = vec![
        Column::left("SHRINKER", 0),
        Column::right("NODE", 0),
        Column::right("FREEABLE", 0),
        Column::right("DEFERRED", 0),
        Column::right("DELTA", 0),
        Column::right("TOTAL_SCAN", 0),
        Column::right("BATCH", 0),
    ];
    let mut rows = Vec::new();
    for shrinker in &machine.shrinkers {
        for (node, deferred) in shrinker.nr_deferred.iter().enumerate() {
            let freeable = machine.super_cache_count(node);
            let work = ShrinkWork::new(freeable, *deferred, priority, shrinker.seeks);
            rows.push(vec![
                shrinker.name.into(),
                machine.nodes[node].nid.0.into(),
                work.freeable.into(),
                work.deferred.into(),
                work.delta.into(),
                work.total_scan.into(),
                shrinker.batch.into(),
            ]);
        }
    }
    Table::grid(columns, rows)
}
