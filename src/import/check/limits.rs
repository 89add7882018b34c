//! Numbers that only describe: none can be larger than the largest machine, so that sums of them fit.
//!
//! Fidelity: not of the kernel.

use super::{MAX_PFN, title};
use crate::import::{ImportError, layout};
use crate::mm::config::{Config, Costs, LruPages, NodeConfig, Owners, Shown, ZoneConfig};
use crate::mm::sysctl::Sysctl;
use crate::mm::tlb::model::TlbSpec;

/// A fault that takes a quarter of an hour is a misspelling.
const LONGEST: u64 = 1_000_000_000_000;
/// 1 TiB: the map of a larger area would be larger than most machines.
const MOST_SLOTS: u64 = 1 << 28;

/// Checks counts by owner, on lists, of pageblocks, of swap slots, and the cost table.
pub fn config(config: &Config, file: &str) -> Result<(), ImportError> {
    for node in &config.nodes {
        owners(node, file)?;
        for zone in &node.zones {
            counts(config, node, zone, file)?;
        }
    }
    costs(&config.costs, file)?;
    tlb(&config.tlb, file)?;
    sysctls(config, file)?;
    let slots = config.swap.iter().fold(0u64, |sum, area| sum.saturating_add(area.pages));
    limit(&[slots], MOST_SLOTS, "slots", file, || "swap".into())
}

/// Values of tunables that the kernel itself would refuse.
fn sysctls(config: &Config, file: &str) -> Result<(), ImportError> {
    for (name, value) in &config.sysctl {
        let Some((least, most)) = Sysctl::range(name) else { continue };
        let Ok(number) = value.parse::<u64>() else { continue };
        if number < least || number > most {
            let problem = format!("{name} is {number}, but the kernel takes {least} to {most}");
            return Err(ImportError::new(file, problem)
                .field("sysctl")
                .advise("Correct the value, or leave the line out."));
        }
    }
    Ok(())
}

fn owners(node: &NodeConfig, file: &str) -> Result<(), ImportError> {
    let o: Owners = node.owners;
    let kernel = [o.slab_reclaimable, o.slab_unreclaimable, o.page_tables, o.kernel_stack_kb];
    let user = [o.file, o.anon, o.mapped, o.shmem, o.dirty, o.swapcached];
    let field = || format!("Node {}: owners", node.nid);
    limit(&kernel, MAX_PFN, "pages", file, field)?;
    limit(&user, MAX_PFN, "pages", file, field)
}

fn counts(config: &Config, node: &NodeConfig, zone: &ZoneConfig, file: &str) -> Result<(), ImportError> {
    let field = |name: &str| format!("{}: {name}", title(node, zone));
    let span = zone.start_pfn..zone.start_pfn + zone.spanned;
    // Captures that do not show the order of a pageblock may count smaller ones.
    let most = 2 * layout::pageblocks(span, config.pageblock_order);
    let blocks = zone.pageblocks.iter().fold(0u64, |sum, &n| sum.saturating_add(n));
    limit(&[blocks], most, "pageblocks", file, || field("pageblocks"))?;
    limit(&[zone.cma], zone.present, "pages", file, || field("cma"))?;
    let LruPages { inactive_anon, active_anon, inactive_file, active_file, unevictable, mlock } = zone.lru;
    let lru = [inactive_anon, active_anon, inactive_file, active_file, unevictable, mlock];
    limit(&lru, MAX_PFN, "pages", file, || field("lru"))?;
    let Some(Shown { boost, min, low, high, protection, highatomic, numa, pcp_high, pcp_batch }) =
        &zone.shown
    else {
        return Ok(());
    };
    limit(protection, MAX_PFN, "pages", file, || field("shown"))?;
    limit(numa, 1 << 60, "events", file, || field("shown"))?;
    limit(&[*boost, *min, *low, *high, *highatomic, *pcp_high, *pcp_batch], MAX_PFN, "pages", file, || {
        field("shown")
    })
}

fn costs(costs: &Costs, file: &str) -> Result<(), ImportError> {
    let Costs { trap, minor_fault, alloc, clear_page, copy_page, scan_page, .. } = *costs;
    let Costs { disk_read, disk_write, migrate_page, kthread_share, .. } = *costs;
    let field = || "costs".to_string();
    limit(
        &[trap, minor_fault, alloc, clear_page, copy_page, scan_page],
        LONGEST,
        "nanoseconds",
        file,
        field,
    )?;
    limit(&[disk_read, disk_write, migrate_page], LONGEST, "nanoseconds", file, field)?;
    limit(&[kthread_share], 100, "percent", file, field)
}

fn tlb(tlb: &TlbSpec, file: &str) -> Result<(), ImportError> {
    let TlbSpec { l1, l1_ways, l2, l2_ways, l1_ps, l2_ps, memory_ps } = *tlb;
    let field = || "tlb".to_string();
    limit(&[l1, l1_ways, l2, l2_ways], 1 << 16, "entries", file, field)?;
    limit(&[l1_ps, l2_ps, memory_ps], 1_000_000_000, "picoseconds", file, field)
}

fn limit(
    numbers: &[u64],
    most: u64,
    unit: &str,
    file: &str,
    field: impl Fn() -> String,
) -> Result<(), ImportError> {
    match numbers.iter().find(|&&n| n > most) {
        Some(n) => {
            let problem = format!("{n} {unit} are more than the {most} there can be");
            Err(ImportError::new(file, problem).field(field()).advise("Check the number, and its unit."))
        }
        None => Ok(()),
    }
}
