//! Swap and reclaim: where pages go when memory is short.
//!
//! Gorman chapters 10 and 11. Kernel: `mm/swapfile.c`, `mm/vmscan.c`.

use crate::mm::addr::PAGE_SHIFT;
use crate::mm::config::SwapConfig;
use crate::script::answer::{OrErrno, ScriptResult, answer, misuse};
use crate::script::args::{self, Size};
use crate::script::bench::Bench;
use crate::script::takes::{NodeNumber, SwapName};
use rhai::plugin::*;

/// Swap and reclaim: where pages go when memory is short.
#[export_module]
pub mod functions {
    /// Switches a swap area of this size on; areas of higher priority are filled first.
    ///
    /// Returns `EINVAL` for an area without room, `EBUSY` when it is on already, `EPERM` when there are too many.
    ///
    /// ```vmlab
    /// > swapon("/dev/vdb", "64M");
    /// > cat /proc/swaps
    /// Filename				Type		Size		Used		Priority
    /// /dev/vdb                                partition	65532		0		-2
    /// > swapon("/dev/vdb", "64M")
    /// EBUSY (Device or resource busy)
    /// > swapon("/dev/vdc", 0)
    /// EINVAL (Invalid argument)
    /// ```
    ///
    /// Kernel: `swapon`, `mm/swapfile.c`. Gorman: 11.
    #[rhai_fn(return_raw)]
    pub fn swapon(ctx: NativeCallContext, name: &str, size: Size) -> ScriptResult<OrErrno<()>> {
        super::on(&ctx, name, &size, None)
    }

    #[rhai_fn(name = "swapon", return_raw)]
    pub fn swapon_prio(
        ctx: NativeCallContext,
        name: &str,
        size: Size,
        prio: i64,
    ) -> ScriptResult<OrErrno<()>> {
        match i16::try_from(prio).ok().filter(|p| (-1..=32767).contains(p)) {
            Some(prio) => super::on(&ctx, name, &size, Some(prio)),
            None => misuse(format!("the priority is {prio}, but must be from -1 to 32767")),
        }
    }

    /// Brings everything back from a swap area and switches it off.
    ///
    /// Returns `EINVAL` when it is not on, `ENOMEM` when memory cannot hold what lies there; nothing is lost then.
    ///
    /// ```vmlab
    /// > swapon("/dev/vdb", "64M");
    /// > swapoff("/dev/vdb");
    /// > swapoff("/dev/vdb")
    /// EINVAL (Invalid argument)
    /// ```
    ///
    /// Kernel: `swapoff`, `try_to_unuse`. Gorman: 11.
    pub fn swapoff(ctx: NativeCallContext, name: SwapName) -> OrErrno<()> {
        let bench = Bench::of(&ctx);
        let result = bench.borrow_mut().machine.swapoff(&name);
        answer(result)
    }

    /// Reclaims pages of a node as direct reclaim would, and answers how many were freed.
    ///
    /// ```vmlab
    /// > boot("workload-swap");
    /// > reclaim(0, 16) > 0
    /// true
    /// ```
    ///
    /// Kernel: `shrink_node`, `mm/vmscan.c`. Gorman: 10.
    #[rhai_fn(return_raw)]
    pub fn reclaim(ctx: NativeCallContext, nid: NodeNumber, pages: i64) -> ScriptResult<i64> {
        let bench = Bench::of(&ctx);
        let mut desk = bench.borrow_mut();
        let nid = crate::script::zone::nid(&desk, nid)?;
        let pages = args::within("pages", pages, i64::from(u32::MAX))?;
        let node = desk.machine.node_index(nid).unwrap_or(0);
        Ok(desk.machine.reclaim_node(node, pages.into()) as i64)
    }
}

fn on(ctx: &NativeCallContext, name: &str, size: &Dynamic, priority: Option<i16>) -> ScriptResult<Dynamic> {
    let bytes = args::size("size", size)?;
    // The first page of an area is its header.
    let pages = (bytes >> PAGE_SHIFT).saturating_sub(1);
    let area = SwapConfig { name: name.into(), pages, priority };
    let bench = Bench::of(ctx);
    let mut desk = bench.borrow_mut();
    crate::script::memblock::late(&desk)?;
    let result = desk.machine.swapon(&area);
    Ok(answer(result.map(|_| ())))
}
