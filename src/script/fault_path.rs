//! `explain("fault")`: the last fault, function by function, and the walk that the processor does now.
//!
//! ```text
//!   asm_exc_page_fault ─┬─ a kernel's address ─► do_kern_addr_fault
//!                       └─ handle_mm_fault ─┬─ a huge page ────► do_huge_pmd_anonymous_page, do_huge_pmd_wp_page
//!                                           └─ handle_pte_fault ─┬─ empty entry, no file ─► do_anonymous_page
//!                                                                ├─ empty entry, a file ──► do_fault
//!                                                                ├─ in swap ──────────────► do_swap_page
//!                                                                └─ write-protected ──────► do_wp_page
//! ```

use crate::mm::Machine;
use crate::mm::memory::Access;
use crate::mm::trace::{FaultKind, FaultRecord};
use crate::script::table::Table;

/// The account of the last fault.
pub fn explain(machine: &Machine) -> Table {
    let record = &machine.last_fault;
    let mut text = record.explain();
    if record.kind == FaultKind::None {
        return Table::prose(&text);
    }
    text += "The way through the kernel:\n";
    for (n, (function, what)) in path(record).iter().enumerate() {
        text += &format!("  {:>2}. {function:<28} {what}\n", n + 1);
    }
    text += &walk(machine, record);
    Table::prose(&text)
}

type Step = (&'static str, String);

fn path(record: &FaultRecord) -> Vec<Step> {
    let verb = match record.access {
        Access::Read => "a read",
        Access::Write => "a write",
        Access::Exec => "an instruction fetch",
    };
    let step = |function, what: &str| (function, what.to_string());
    let processor = format!("the processor: {verb} of {}", record.addr);
    if record.kind == FaultKind::GeneralProtection {
        return vec![
            step("asm_exc_general_protection", &processor),
            step("gp_user_force_sig_segv", "the address is none: SIGSEGV, and no area is asked"),
        ];
    }
    let mut steps = vec![step("asm_exc_page_fault", &processor)];
    if record.kind == FaultKind::KernelAddress {
        steps.push(step("do_kern_addr_fault", "the address is a kernel's: no area is asked"));
        steps.push(step("bad_area_nosemaphore", "SIGSEGV, SEGV_MAPERR"));
        return steps;
    }
    steps.push(step("do_user_addr_fault", "the address is a user's: the task's areas decide"));
    let area = format!("{:x}-{:x} {}", record.start, record.end, record.flags.perms());
    match record.kind {
        FaultKind::Segv { accerr: false } => {
            steps.push(step("find_vma", "no area holds it, and no stack may grow down to it"));
            steps.push(step("bad_area", "SIGSEGV, SEGV_MAPERR"));
            return steps;
        }
        FaultKind::Segv { accerr: true } => {
            steps.push(step("find_vma", &format!("area {area}")));
            steps.push(step("access_error", "the area forbids it"));
            steps.push(step("bad_area_access_error", "SIGSEGV, SEGV_ACCERR"));
            return steps;
        }
        _ => {}
    }
    steps.push(step("find_vma", &format!("area {area} holds it and allows it")));
    steps.push(step("handle_mm_fault", "counts pgfault"));
    if let Some(huge) = huge_branch(record.kind) {
        steps.extend(huge);
        if !record.kind.was_split() {
            return steps;
        }
    } else {
        steps.push(step("__handle_mm_fault", "PGD, PUD, PMD: missing tables are allocated"));
    }
    steps.push(step("handle_pte_fault", entry_was(record.kind)));
    steps.extend(branch(record.kind));
    steps
}

/// The part of the way that one entry for 2 MiB takes; `None` when no such entry was in question.
fn huge_branch(kind: FaultKind) -> Option<Vec<Step>> {
    let step = |function, what: &str| (function, what.to_string());
    let empty = step("__handle_mm_fault", "the PMD entry is empty, and the area may have huge pages");
    let protected = step("__handle_mm_fault", "the PMD entry maps 2 MiB and forbids the write");
    let create = step("create_huge_pmd", "2 MiB that nobody touched");
    let write = step("wp_huge_pmd", "a write to a huge page");
    Some(match kind {
        FaultKind::HugePage { pfn } => vec![
            empty,
            create,
            step("do_huge_pmd_anonymous_page", "the area holds all of the 2 MiB; it gets an anon_vma"),
            ("vma_alloc_folio", format!("pfn {pfn} and the 511 after it: order 9")),
            step("clear_huge_page", "512 pages of zeros"),
            step("pgtable_trans_huge_deposit", "a PTE table is put aside, should the entry be split"),
            step("set_pmd_at", "one entry maps all of it; thp_fault_alloc"),
        ],
        FaultKind::HugeZeroPage => vec![
            empty,
            create,
            step("do_huge_pmd_anonymous_page", "a read: nothing is allocated for the task but a table"),
            step("mm_get_huge_zero_page", "the huge page of zeros, made when it is first wanted"),
            step("set_huge_zero_page", "one entry shows 2 MiB of zeros"),
        ],
        FaultKind::ReuseHuge { pfn } => vec![
            protected,
            write,
            (
                "do_huge_pmd_wp_page",
                format!("the huge page of pfn {pfn} has no other user: the entry becomes writable"),
            ),
        ],
        kind if kind.was_split() => vec![
            protected,
            write,
            step("do_huge_pmd_wp_page", "2 MiB are never copied: one small page will be"),
            step("__split_huge_pmd", "the table put aside takes over, with 512 entries; thp_split_pmd"),
        ],
        _ => return None,
    })
}

/// What `handle_pte_fault` found in the entry.
fn entry_was(kind: FaultKind) -> &'static str {
    match kind {
        FaultKind::SwapIn { .. } => "the entry names a slot of swap",
        FaultKind::Reuse { .. } | FaultKind::Copy { .. } | FaultKind::Mkwrite { .. } => {
            "the entry is there but write-protected"
        }
        FaultKind::Spurious => "the entry allows it already",
        _ => "the entry is empty",
    }
}

fn branch(kind: FaultKind) -> Vec<Step> {
    let step = |function, what: String| (function, what);
    match kind {
        FaultKind::ZeroPage => {
            vec![step(
                "do_anonymous_page",
                "a read: the frame of zeros is mapped, nothing is allocated".into(),
            )]
        }
        FaultKind::NewPage { pfn } => vec![
            step("do_anonymous_page", "a write: the area gets an anon_vma if it has none".into()),
            step("vma_alloc_folio", format!("pfn {pfn}, filled with zeros")),
            step("page_add_new_anon_rmap", "mapped once, by this process alone".into()),
            step("lru_cache_add", "joins the inactive anonymous list".into()),
        ],
        FaultKind::Reuse { pfn, .. } => vec![
            step("do_wp_page", format!("pfn {pfn} has no other user")),
            step("wp_page_reuse", "the entry becomes writable; pgreuse".into()),
        ],
        FaultKind::Copy { old, new, from_zero, .. } => vec![
            step(
                "do_wp_page",
                format!("pfn {old} is {}", if from_zero { "the frame of zeros" } else { "shared" }),
            ),
            step("wp_page_copy", format!("pfn {new} is allocated and gets the bytes")),
            step("ptep_clear_flush", "the old translation leaves the TLBs".into()),
            step("page_add_new_anon_rmap", "the copy is this process's alone".into()),
        ],
        FaultKind::SwapIn { major } => vec![
            step("do_swap_page", "looks into the swap cache".into()),
            if major {
                step("swapin_readahead", "reads it and its neighbours; a major fault".into())
            } else {
                step("lookup_swap_cache", "readahead had brought it; a minor fault".into())
            },
            step("do_page_add_anon_rmap", "mapped again; the slot is freed when nobody else needs it".into()),
        ],
        FaultKind::Spurious => {
            vec![step("flush_tlb_fix_spurious_fault", "the stale translation goes".into())]
        }
        FaultKind::NoMemory => vec![step("pagefault_out_of_memory", "no page could be had".into())],
        other => file_branch(other),
    }
}

/// Faults on pages of files.
fn file_branch(kind: FaultKind) -> Vec<Step> {
    let step = |function, what: &str| (function, what.to_string());
    let first = step("do_fault", "a file lies behind the area");
    let bring = |major| {
        let how = if major {
            "the file's handler reads the page from the disk (filemap_fault); a major fault"
        } else {
            "the file's handler finds the page, or makes it (filemap_fault, shmem_fault)"
        };
        ("__do_fault", how.to_string())
    };
    match kind {
        FaultKind::MapFile { pfn, around: 0, major } => vec![
            first,
            step("do_read_fault", "a read"),
            step("do_fault_around", "this page is not in memory, or not ready"),
            bring(major),
            ("finish_fault", format!("pfn {pfn} is mapped")),
        ],
        FaultKind::MapFile { pfn, around, .. } => vec![
            first,
            step("do_read_fault", "a read"),
            step("do_fault_around", "the 16 pages around it, as far as area, file and table go"),
            (
                "filemap_map_pages",
                format!("{around} of them in memory are mapped at once, pfn {pfn} among them"),
            ),
        ],
        FaultKind::CopyFile { old, new, major } => vec![
            first,
            ("do_cow_fault", format!("a private write: pfn {new} is allocated for the copy")),
            bring(major),
            ("copy_user_highpage", format!("pfn {old}, the file's, stays as it is")),
            step("finish_fault", "the copy is mapped, this process's alone"),
        ],
        FaultKind::SharedFile { pfn, major } => vec![
            first,
            ("do_shared_fault", format!("a shared write: the file's own page, pfn {pfn}")),
            bring(major),
            step("do_page_mkwrite", "a file system on a disk hears of it"),
            step("finish_fault", "the file's page is mapped, writable"),
            step("fault_dirty_shared_page", "the page is dirty from now on"),
        ],
        FaultKind::Mkwrite { pfn } => vec![
            ("do_wp_page", format!("pfn {pfn} is a file's, and the area is shared")),
            (
                "wp_page_shared",
                "the file system hears of the first write; the page is dirty from now on".into(),
            ),
        ],
        FaultKind::SigBus => vec![("do_sigbus", "the file has no such page: SIGBUS, BUS_ADRERR".into())],
        other => vec![("handle_pte_fault", other.to_string())],
    }
}

/// The walk as the processor would do it now.
fn walk(machine: &Machine, record: &FaultRecord) -> String {
    let mm = machine.tasks.get(&record.pid).and_then(|t| t.mm).and_then(|mm| machine.mms.get(mm));
    let Some(mm) = mm else { return String::new() };
    let mut text = format!("The walk now, of {}:\n", record.addr);
    for step in machine.walk(mm.pgd, record.addr) {
        let name = machine.tables.geometry.name(step.level);
        let entry = if step.entry.is_none() { "empty".to_string() } else { format!("{:#x}", step.entry.0) };
        text += &format!("  {name:>3} pfn {:<8} [{:>3}] ─► {entry}\n", step.table.to_string(), step.index);
    }
    text
}
