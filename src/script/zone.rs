//! Nodes and zones: where memory lies, and the lines that must not be crossed.
//!
//! Gorman chapter 2. Kernel: `include/linux/mmzone.h`.

use crate::mm::addr::{Nid, Order};
use crate::mm::config::ZoneType;
use crate::mm::mmzone::Zone;
use crate::mm::page_alloc::pcp::PerCpuPages;
use crate::script::answer::{ScriptResult, misuse};
use crate::script::bench::{Bench, Desk};
use crate::script::handles::{NodeRef, ZoneRef, node_text, zone_text};
use crate::script::takes::{NodeNumber, ZoneName};
use rhai::plugin::*;
use rhai::{Array, Map};

/// Nodes and zones: where memory lies, and the lines that must not be crossed.
#[export_module]
pub mod functions {
    /// Lists the nodes.
    ///
    /// ```vmlab
    /// > boot("x86_64-numa2");
    /// > nodes()
    /// node 0 cpus=0 present=262046 free=237352
    /// node 1 cpus=1 present=262109 free=253746
    /// ```
    ///
    /// Kernel: `for_each_online_node`, `include/linux/nodemask.h`. Gorman: 2.1.
    /// Command: `nodes`
    pub fn nodes(ctx: NativeCallContext) -> Array {
        let bench = Bench::of(&ctx);
        let desk = bench.borrow();
        desk.machine.nodes.iter().map(|n| Dynamic::from(NodeRef::new(&desk, n.nid))).collect()
    }

    /// The node with this number.
    ///
    /// ```vmlab
    /// > node(0).cpus
    /// [0]
    /// > node(1)
    /// error: there is no node 1: this machine has node 0
    /// ```
    ///
    /// Kernel: `NODE_DATA`. Gorman: 2.1.
    #[rhai_fn(return_raw)]
    pub fn node(ctx: NativeCallContext, nid: NodeNumber) -> ScriptResult<NodeRef> {
        let bench = Bench::of(&ctx);
        let desk = bench.borrow();
        Ok(NodeRef::new(&desk, super::nid(&desk, nid)?))
    }

    /// Lists the zones of all nodes, low zones first; empty ones are left out.
    ///
    /// ```vmlab
    /// > zones()
    /// zone DMA node=0 free=3072 min=110 low=137 high=164
    /// > for z in zones() { print(`${z.name}: ${z.managed_pages}`); }
    /// DMA: 3072
    /// ```
    ///
    /// Kernel: `for_each_populated_zone`, `include/linux/mmzone.h`. Gorman: 2.2.
    /// Command: `zones`
    pub fn zones(ctx: NativeCallContext) -> Array {
        let bench = Bench::of(&ctx);
        let desk = bench.borrow();
        let populated = desk.machine.zones.iter().filter(|z| z.is_populated());
        populated.map(|z| Dynamic::from(ZoneRef::new(&desk, z.id))).collect()
    }

    /// The zone of this name, on the first node that has it, or on a given node.
    ///
    /// ```vmlab
    /// > zone("DMA32")
    /// zone DMA32 node=0 (empty)
    /// > zone("Normal").protection
    /// [0, 0, 0, 0, 0]
    /// > zone("HighMem")
    /// error: there is no zone "HighMem" on x86_64: zones are DMA, DMA32, Normal, Movable, Device
    ///  --> 1:6
    ///   |
    /// 1 | zone("HighMem")
    ///   |      ^^^^^^^^^
    /// ```
    ///
    /// Kernel: `struct zone`, `include/linux/mmzone.h`. Gorman: 2.2.
    #[rhai_fn(return_raw)]
    pub fn zone(ctx: NativeCallContext, name: ZoneName) -> ScriptResult<ZoneRef> {
        let bench = Bench::of(&ctx);
        let desk = bench.borrow();
        let kind = super::kind(&desk, &name)?;
        let mut found = desk.machine.zones.iter().filter(|z| z.kind == kind);
        // An empty zone is found only when no node has pages in it.
        match found.clone().find(|z| z.is_populated()).or_else(|| found.next()) {
            Some(zone) => Ok(ZoneRef::new(&desk, zone.id)),
            None => misuse(format!("no zone {name}")),
        }
    }

    #[rhai_fn(name = "zone", return_raw)]
    pub fn zone_of_node(ctx: NativeCallContext, nid: NodeNumber, name: ZoneName) -> ScriptResult<ZoneRef> {
        let bench = Bench::of(&ctx);
        let desk = bench.borrow();
        let (node, kind) = (super::nid(&desk, nid)?, super::kind(&desk, &name)?);
        match desk.machine.zones.iter().find(|z| z.kind == kind && z.node == node) {
            Some(zone) => Ok(ZoneRef::new(&desk, zone.id)),
            None => misuse(format!("node {nid} has no zone {name}")),
        }
    }

    /// The node's number.
    #[rhai_fn(get = "nid", pure)]
    pub fn nid(node: &mut NodeRef) -> i64 {
        node.nid.0.into()
    }

    /// Numbers of the node's CPUs.
    #[rhai_fn(get = "cpus", pure, return_raw)]
    pub fn node_cpus(ctx: NativeCallContext, node: &mut NodeRef) -> ScriptResult<Array> {
        let bench = Bench::of(&ctx);
        let desk = bench.borrow();
        Ok(node.of(&desk)?.cpus.iter().map(|&cpu| i64::from(cpu).into()).collect())
    }

    /// The node's zones, low zones first, empty ones too.
    #[rhai_fn(get = "zones", pure, return_raw)]
    pub fn node_zones(ctx: NativeCallContext, node: &mut NodeRef) -> ScriptResult<Array> {
        let bench = Bench::of(&ctx);
        let desk = bench.borrow();
        Ok(node.of(&desk)?.zones.iter().map(|&id| Dynamic::from(ZoneRef::new(&desk, id))).collect())
    }

    /// Frames that exist on the node (`node_present_pages`).
    #[rhai_fn(get = "present_pages", pure, return_raw)]
    pub fn node_present_pages(ctx: NativeCallContext, node: &mut NodeRef) -> ScriptResult<i64> {
        super::sum(&Bench::of(&ctx).borrow(), *node, |z| z.present_pages)
    }

    /// Frames from the node's first to its last, summed over its zones.
    #[rhai_fn(get = "spanned_pages", pure, return_raw)]
    pub fn node_spanned_pages(ctx: NativeCallContext, node: &mut NodeRef) -> ScriptResult<i64> {
        super::sum(&Bench::of(&ctx).borrow(), *node, |z| z.spanned_pages)
    }

    /// Free pages of the node.
    #[rhai_fn(get = "free", pure, return_raw)]
    pub fn node_free(ctx: NativeCallContext, node: &mut NodeRef) -> ScriptResult<i64> {
        super::sum(&Bench::of(&ctx).borrow(), *node, Zone::free_pages)
    }

    /// The distance to another node, as firmware tells it: 10 is local.
    ///
    /// ```vmlab
    /// > boot("x86_64-numa4");
    /// > node(0).distance(2)
    /// 30
    /// ```
    ///
    /// Kernel: `node_distance`, `arch/x86/mm/numa.c`.
    #[rhai_fn(return_raw)]
    pub fn distance(ctx: NativeCallContext, node: NodeRef, nid: NodeNumber) -> ScriptResult<i64> {
        let bench = Bench::of(&ctx);
        let desk = bench.borrow();
        let to = super::nid(&desk, nid)?;
        let index = desk.machine.node_index(to).unwrap_or(0);
        Ok(node.of(&desk)?.distances.get(index).copied().unwrap_or(0).into())
    }

    /// The zone's name: `DMA32`.
    #[rhai_fn(get = "name", pure, return_raw)]
    pub fn name(ctx: NativeCallContext, zone: &mut ZoneRef) -> ScriptResult<String> {
        Ok(zone.of(&Bench::of(&ctx).borrow())?.kind.name().into())
    }

    /// The number of the zone's node.
    #[rhai_fn(get = "node", pure, return_raw)]
    pub fn zone_node(ctx: NativeCallContext, zone: &mut ZoneRef) -> ScriptResult<i64> {
        Ok(zone.of(&Bench::of(&ctx).borrow())?.node.0.into())
    }

    /// The first frame of the span.
    #[rhai_fn(get = "zone_start_pfn", pure, return_raw)]
    pub fn zone_start_pfn(ctx: NativeCallContext, zone: &mut ZoneRef) -> ScriptResult<i64> {
        Ok(zone.of(&Bench::of(&ctx).borrow())?.zone_start_pfn.into())
    }

    /// One past the last frame of the span.
    #[rhai_fn(get = "zone_end_pfn", pure, return_raw)]
    pub fn zone_end_pfn(ctx: NativeCallContext, zone: &mut ZoneRef) -> ScriptResult<i64> {
        Ok(zone.of(&Bench::of(&ctx).borrow())?.end_pfn().into())
    }

    /// Frames from the first to the last, holes included.
    #[rhai_fn(get = "spanned_pages", pure, return_raw)]
    pub fn spanned_pages(ctx: NativeCallContext, zone: &mut ZoneRef) -> ScriptResult<i64> {
        Ok(zone.of(&Bench::of(&ctx).borrow())?.spanned_pages as i64)
    }

    /// Frames that exist.
    #[rhai_fn(get = "present_pages", pure, return_raw)]
    pub fn present_pages(ctx: NativeCallContext, zone: &mut ZoneRef) -> ScriptResult<i64> {
        Ok(zone.of(&Bench::of(&ctx).borrow())?.present_pages as i64)
    }

    /// Frames the buddy allocator was given.
    #[rhai_fn(get = "managed_pages", pure, return_raw)]
    pub fn managed_pages(ctx: NativeCallContext, zone: &mut ZoneRef) -> ScriptResult<i64> {
        Ok(zone.of(&Bench::of(&ctx).borrow())?.managed_pages as i64)
    }

    /// Free pages in the buddy lists (`NR_FREE_PAGES`); those on per-CPU lists are not among them.
    #[rhai_fn(get = "free", pure, return_raw)]
    pub fn free(ctx: NativeCallContext, zone: &mut ZoneRef) -> ScriptResult<i64> {
        Ok(zone.of(&Bench::of(&ctx).borrow())?.free_pages() as i64)
    }

    /// Below it only emergencies allocate.
    #[rhai_fn(get = "min", pure, return_raw)]
    pub fn min(ctx: NativeCallContext, zone: &mut ZoneRef) -> ScriptResult<i64> {
        Ok(zone.of(&Bench::of(&ctx).borrow())?.watermark.min as i64)
    }

    /// Below it kswapd is woken.
    #[rhai_fn(get = "low", pure, return_raw)]
    pub fn low(ctx: NativeCallContext, zone: &mut ZoneRef) -> ScriptResult<i64> {
        Ok(zone.of(&Bench::of(&ctx).borrow())?.watermark.low as i64)
    }

    /// Above it kswapd sleeps again.
    #[rhai_fn(get = "high", pure, return_raw)]
    pub fn high(ctx: NativeCallContext, zone: &mut ZoneRef) -> ScriptResult<i64> {
        Ok(zone.of(&Bench::of(&ctx).borrow())?.watermark.high as i64)
    }

    /// Pages by which all three are raised for a while, after blocks of different mobility got mixed.
    #[rhai_fn(get = "boost", pure, return_raw)]
    pub fn boost(ctx: NativeCallContext, zone: &mut ZoneRef) -> ScriptResult<i64> {
        Ok(zone.of(&Bench::of(&ctx).borrow())?.watermark_boost as i64)
    }

    /// Pages that requests for each higher zone must leave here, one number for each zone of the node.
    #[rhai_fn(get = "protection", pure, return_raw)]
    pub fn protection(ctx: NativeCallContext, zone: &mut ZoneRef) -> ScriptResult<Array> {
        let bench = Bench::of(&ctx);
        let desk = bench.borrow();
        let of = zone.of(&desk)?;
        let kinds = desk.machine.config.arch.zone_types();
        Ok(kinds.iter().map(|&kind| (of.lowmem_reserve[kind as usize] as i64).into()).collect())
    }

    /// Free blocks of each order: `z.free_area[3]` counts blocks of 8 pages.
    #[rhai_fn(get = "free_area", pure, return_raw)]
    pub fn free_area(ctx: NativeCallContext, zone: &mut ZoneRef) -> ScriptResult<Array> {
        let bench = Bench::of(&ctx);
        let desk = bench.borrow();
        let of = zone.of(&desk)?;
        Ok(Order::all().map(|order| (of.nr_free(order) as i64).into()).collect())
    }

    /// Pages on the per-CPU lists of all CPUs.
    #[rhai_fn(get = "pcp", pure, return_raw)]
    pub fn pcp(ctx: NativeCallContext, zone: &mut ZoneRef) -> ScriptResult<i64> {
        Ok(zone.of(&Bench::of(&ctx).borrow())?.pcp_pages() as i64)
    }

    /// The per-CPU lists, a map for each CPU: `count` pages are on them, `high` is their limit, `batch` moves at once.
    #[rhai_fn(get = "pageset", pure, return_raw)]
    pub fn pageset(ctx: NativeCallContext, zone: &mut ZoneRef) -> ScriptResult<Array> {
        let bench = Bench::of(&ctx);
        let desk = bench.borrow();
        let numbers = |pcp: &PerCpuPages| {
            let fields = [("count", pcp.count), ("high", pcp.high), ("batch", pcp.batch)];
            let fields = fields.into_iter().map(|(name, n)| (name.into(), (n as i64).into()));
            Dynamic::from(fields.collect::<Map>())
        };
        Ok(zone.of(&desk)?.pageset.iter().map(numbers).collect())
    }

    #[rhai_fn(global, name = "to_string", name = "to_debug", pure)]
    pub fn zone_string(ctx: NativeCallContext, zone: &mut ZoneRef) -> String {
        zone.of(&Bench::of(&ctx).borrow()).map_or_else(|_| "zone (gone)".into(), zone_text)
    }

    #[rhai_fn(global, name = "to_string", name = "to_debug", pure)]
    pub fn node_string(ctx: NativeCallContext, node: &mut NodeRef) -> String {
        let bench = Bench::of(&ctx);
        let desk = bench.borrow();
        node.of(&desk).map_or_else(|_| "node (gone)".into(), |of| node_text(&desk.machine, of))
    }

    #[rhai_fn(name = "==")]
    pub fn zone_equals(a: ZoneRef, b: ZoneRef) -> bool {
        a == b
    }

    #[rhai_fn(name = "!=")]
    pub fn zone_differs(a: ZoneRef, b: ZoneRef) -> bool {
        a != b
    }

    #[rhai_fn(name = "==")]
    pub fn node_equals(a: NodeRef, b: NodeRef) -> bool {
        a == b
    }

    #[rhai_fn(name = "!=")]
    pub fn node_differs(a: NodeRef, b: NodeRef) -> bool {
        a != b
    }
}

/// The number of a node that is there.
pub(crate) fn nid(desk: &Desk, nid: i64) -> ScriptResult<Nid> {
    let found = u8::try_from(nid).ok().map(Nid).filter(|&nid| desk.machine.node_index(nid).is_some());
    match found {
        Some(nid) => Ok(nid),
        None => {
            let nids: Vec<u16> = desk.machine.nodes.iter().map(|n| n.nid.0.into()).collect();
            misuse(format!(
                "there is no node {nid}: this machine has {}",
                crate::script::handles::listed("node", &nids)
            ))
        }
    }
}

pub(crate) fn kind(desk: &Desk, name: &str) -> ScriptResult<ZoneType> {
    let kinds = desk.machine.config.arch.zone_types();
    match kinds.iter().find(|kind| kind.name().eq_ignore_ascii_case(name)) {
        Some(&kind) => Ok(kind),
        None => {
            let names: Vec<&str> = kinds.iter().map(|kind| kind.name()).collect();
            misuse(format!(
                "there is no zone {name:?} on {}: zones are {}",
                desk.machine.config.arch.name(),
                names.join(", ")
            ))
        }
    }
}

fn sum(desk: &Desk, node: NodeRef, pages: impl Fn(&Zone) -> u64) -> ScriptResult<i64> {
    Ok(node.of(desk)?.zones.iter().map(|z| pages(&desk.machine.zones[z.index()])).sum::<u64>() as i64)
}
