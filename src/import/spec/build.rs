//! From a spec as it was written to the machine it means.
//!
//! Fidelity: not of the kernel — what is left out has a default, and is listed where it is a guess.

use super::form::{ImageSpec, LateSpec, NodeSpec, ShownSpec, Spec, SwapSpec, ZoneSpec};
use super::many::{Many, OrSize};
use super::values::{self, AllocatorName, Cpus, Free, Size, Thp};
use crate::import::generic::{self, PlainNode};
use crate::import::{ImportError, check, nearest, nodes, profile, slabs, vmallocinfo};
use crate::mm::addr::{Nid, Order};
use crate::mm::config::{
    Arch, Config, EarlyMemory, KernelImage, LateFreed, NodeConfig, Shown, Stop, SwapConfig, ZoneConfig,
    ZoneType,
};
use crate::mm::mm_init::Core;

/// Makes the machine; `name` is its name when the spec has none.
pub fn machine(name: &str, file: &str, mut spec: Spec) -> Result<Config, ImportError> {
    let core = core(&spec);
    let stop = spec.stop.map(|stop| stop.0);
    if let Some(base) = spec.machine.take() {
        return shipped(file, &base.0, spec, core, stop);
    }
    let arch = spec.arch.map_or_else(Arch::default, |a| a.0);
    let name = spec.name.map_or(name.to_string(), |n| n.0);
    let order = spec.pageblock_order.map(|order| pageblock_order(file, order)).transpose()?;
    let mut config = match spec.nodes {
        Some(Many::List(list)) if list.iter().any(has_zones) => {
            if spec.mem.is_some() || spec.cpus.is_some() {
                let problem = "`mem` and `cpus` of the machine do not go with nodes that list their zones";
                let advice = "Leave them out: the zones and the `cpus` of each node say it.";
                return Err(ImportError::new(file, problem).field("nodes").advise(advice));
            }
            if !core.is_none() && stop.is_none() {
                let problem = "the zones of its nodes are listed: ZONE_MOVABLE is what they say";
                let advice =
                    "Write a Movable zone, or leave the zones out and give `mem`; or add `stop: memblock`.";
                return Err(ImportError::new(file, problem).field("movablecore").advise(advice));
            }
            detailed(Config::new(name, arch), file, order, list)?
        }
        nodes => {
            let nodes = plain_nodes(file, spec.mem, spec.cpus, nodes)?;
            generic::machine(&name, file, arch, &nodes, core)?
        }
    };
    (config.core, config.stop) = (core, stop);
    config.la57 = five_levels(file, arch, spec.la57)?;
    if let Some(kernel) = spec.kernel {
        config.kernel = kernel.0.into();
    }
    if let Some(order) = order {
        config.pageblock_order = order;
    }
    if let Some(Thp(mode)) = spec.thp {
        config.thp = mode;
    }
    config.cma = spec.cma.unwrap_or(config.cma || profile::has_cma_pages(&config));
    config.late_freed = spec.late_freed.into_iter().map(|l| late_freed(file, l)).collect::<Result<_, _>>()?;
    config.cmdline = spec.cmdline.unwrap_or_default();
    config.sysctl = spec.sysctl.0;
    config.swap = swap_areas(file, spec.swap)?;
    config.costs = spec.costs.into();
    config.tlb = spec.tlb.into();
    if let Some(iomem) = spec.iomem {
        config.iomem = iomem.lines().map(str::to_string).collect();
    }
    if let Some(AllocatorName(allocator)) = spec.slab {
        config.slab = allocator;
    }
    config.caches = match spec.slabs {
        Some(text) => slabs::from_lines(&text).map_err(|line| {
            ImportError::new(file, format!("{line:?} is no cache: name size/size align flags active/total"))
                .field("slabs")
        })?,
        None => slabs::usual(config.arch),
    };
    if let Some(text) = spec.vmallocinfo {
        config.vmalloc = vmallocinfo::from_lines(&text).map_err(|line| {
            let problem = format!("{line:?} is no area: size caller [pages=N] [phys=0xN] kind [N0=pages]");
            ImportError::new(file, problem).field("vmallocinfo")
        })?;
    }
    config.seed = spec.seed.unwrap_or(config.seed);
    config.fail_nth = spec.fail_nth.filter(|&nth| nth > 0);
    if let Some(inferred) = spec.inferred {
        config.inferred = inferred;
    }
    config.early = EarlyMemory {
        image: spec.kernel_image.map(image),
        ramdisk: spec.ramdisk.map(|r| (r.first, r.first + r.length)),
        alternatives: spec.alternatives,
    };
    config.memblock_debug = spec.memblock.is_some();
    check::config(&config, file)?;
    Ok(config)
}

/// Five levels of page tables, where there can be.
fn five_levels(file: &str, arch: Arch, la57: bool) -> Result<bool, ImportError> {
    if la57 && arch != Arch::X86_64 {
        let problem = format!("{} has no fifth level of page tables", arch.name());
        let advice = "Leave `la57` out, or write `arch: x86_64`.";
        return Err(ImportError::new(file, problem).field("la57").advise(advice));
    }
    Ok(la57)
}

/// A shipped machine with some things said otherwise.
fn shipped(
    file: &str,
    base: &str,
    spec: Spec,
    core: Core,
    stop: Option<Stop>,
) -> Result<Config, ImportError> {
    let wrong = |field: &str, problem: String, advice: &str| {
        Err(ImportError::new(file, problem).field(field).advise(advice))
    };
    let said = [
        ("arch", spec.arch.is_some()),
        ("mem", spec.mem.is_some()),
        ("cpus", spec.cpus.is_some()),
        ("nodes", spec.nodes.is_some()),
        ("pageblock_order", spec.pageblock_order.is_some()),
        ("la57", spec.la57),
        ("cma", spec.cma.is_some()),
    ];
    if let Some((field, _)) = said.iter().find(|(_, said)| *said) {
        let problem = format!("the machine {base} has its own `{field}`");
        return wrong(field, problem, "Leave it out, or leave `machine` out and describe a plain one.");
    }
    let mut config = crate::import::shipped::get(base)?;
    if !core.is_none() && stop.is_none() {
        let problem = format!("the blocks that are free in {base} were counted with other zones");
        let advice = "Add `stop: memblock`: after the hand-over everything that is not reserved is free. Or describe a plain machine by `mem`.";
        return wrong("movablecore", problem, advice);
    }
    (config.core, config.stop, config.memblock_debug) = (core, stop, spec.memblock.is_some());
    if let Some(name) = spec.name {
        config.name = name.0;
    }
    if let Some(Thp(mode)) = spec.thp {
        config.thp = mode;
    }
    if let Some(AllocatorName(allocator)) = spec.slab {
        config.slab = allocator;
    }
    if let Some(cmdline) = spec.cmdline {
        config.cmdline = cmdline;
    }
    (config.costs, config.tlb) = (spec.costs.into(), spec.tlb.into());
    config.sysctl.extend(spec.sysctl.0);
    if spec.swap.is_some() {
        config.swap = swap_areas(file, spec.swap)?;
    }
    config.seed = spec.seed.unwrap_or(config.seed);
    config.fail_nth = spec.fail_nth.filter(|&nth| nth > 0);
    check::config(&config, file)?;
    Ok(config)
}

/// What the spec says about `ZONE_MOVABLE`.
fn core(spec: &Spec) -> Core {
    Core {
        kernelcore: spec.kernelcore.map(|a| a.0),
        movablecore: spec.movablecore.map(|a| a.0),
        movable_node: spec.movable_node,
    }
}

fn image(spec: ImageSpec) -> KernelImage {
    let ImageSpec { frames, code, rwdata, rodata, init, bss } = spec;
    let (start_pfn, end_pfn) = frames.map_or((0, 0), |f| (f.first, f.first + f.length));
    KernelImage { start_pfn, end_pfn, code, rwdata, rodata, init, bss }
}

fn has_zones(node: &OrSize<NodeSpec>) -> bool {
    matches!(node, OrSize::Whole(NodeSpec { zones: Some(_), .. }))
}

fn pageblock_order(file: &str, order: u8) -> Result<Order, ImportError> {
    Order::new(order).ok_or_else(|| {
        let problem = format!("order {order} is larger than {}, the largest block", Order::MAX);
        ImportError::new(file, problem)
            .field("pageblock_order")
            .advise("Usually 9, the order of a huge page.")
    })
}

/// The nodes of a machine whose zones are not listed.
fn plain_nodes(
    file: &str,
    mem: Option<Size>,
    cpus: Option<u64>,
    nodes: Option<Many<NodeSpec>>,
) -> Result<Vec<PlainNode>, ImportError> {
    let wrong = |field: &str, problem: String, advice: &str| {
        Err(ImportError::new(file, problem).field(field).advise(advice))
    };
    let specs = match nodes.unwrap_or(Many::Count(1)) {
        Many::Count(count) if (1..=check::MAX_NODES as u64).contains(&count) => {
            (0..count).map(|_| NodeSpec::default()).collect()
        }
        Many::Count(count) => {
            return wrong("nodes", format!("{count} nodes; a machine has 1 to 64"), "Write `nodes: 2`.");
        }
        Many::List(list) if list.is_empty() || list.len() > check::MAX_NODES => {
            return wrong(
                "nodes",
                format!("{} nodes; a machine has 1 to 64", list.len()),
                "Write `nodes: 2`.",
            );
        }
        Many::List(list) => list.into_iter().map(whole).collect::<Vec<_>>(),
    };
    let sized: u64 = specs.iter().filter_map(|n| n.mem).fold(0, |sum, Size(bytes)| sum.saturating_add(bytes));
    let unsized_nodes = specs.iter().filter(|n| n.mem.is_none()).count() as u64;
    let total = match mem {
        Some(Size(total)) if total < sized || unsized_nodes == 0 && total != sized => {
            let problem = format!(
                "its nodes have {}, the machine {}",
                values::size_text(sized),
                values::size_text(total)
            );
            return wrong("mem", problem, "Leave the machine's `mem` out: it is the sum of its nodes.");
        }
        Some(Size(total)) => total,
        None if unsized_nodes == specs.len() as u64 => 1 << 30,
        None if unsized_nodes == 0 => sized,
        None => {
            return wrong(
                "mem",
                format!("{unsized_nodes} nodes have no `mem`"),
                "Give every node `mem`; 0 is allowed.",
            );
        }
    };
    // What the sized nodes leave, in equal shares of whole 4 MiB.
    let share = (total - sized).checked_div(unsized_nodes).unwrap_or(0) & !((4 << 20) - 1);
    let count = cpus.unwrap_or(if specs.iter().all(|n| n.cpus.is_none()) { specs.len() as u64 } else { 0 });
    if count > check::MAX_CPUS.into() {
        return wrong(
            "cpus",
            format!("{count} CPUs; a machine has at most {}", check::MAX_CPUS),
            "Write `cpus: 2`.",
        );
    }
    let many = specs.len() as u64;
    let mut next = 0u16;
    let mut plain = Vec::new();
    for (at, spec) in (0u64..).zip(specs) {
        let own = match spec.cpus {
            Some(Cpus::List(list)) => list,
            Some(Cpus::Count(n)) => number_on(file, &mut next, n)?,
            // CPUs of the machine, dealt out evenly.
            None => number_on(file, &mut next, count * (at + 1) / many - count * at / many)?,
        };
        let nid = Nid(spec.node.unwrap_or(at as u8));
        let left =
            if at + 1 == many && mem.is_some() && sized == 0 { total - share * (many - 1) } else { share };
        plain.push(PlainNode {
            nid,
            bytes: spec.mem.map_or(left, |m| m.0),
            cpus: own,
            distances: spec.distances,
        });
    }
    Ok(plain)
}

/// The next `n` CPU numbers.
fn number_on(file: &str, next: &mut u16, n: u64) -> Result<Vec<u16>, ImportError> {
    let from = *next;
    let to = u64::from(from).saturating_add(n);
    if to > check::MAX_CPUS.into() {
        let problem = format!("{to} CPUs; a machine has at most {}", check::MAX_CPUS);
        return Err(ImportError::new(file, problem).field("cpus").advise("Write `cpus: 2`."));
    }
    *next = to as u16;
    Ok((from..*next).collect())
}

fn whole(node: OrSize<NodeSpec>) -> NodeSpec {
    match node {
        OrSize::Size(mem) => NodeSpec { mem: Some(mem), ..NodeSpec::default() },
        OrSize::Whole(node) => node,
    }
}

/// A machine whose nodes list their zones.
fn detailed(
    mut config: Config,
    file: &str,
    order: Option<Order>,
    list: Vec<OrSize<NodeSpec>>,
) -> Result<Config, ImportError> {
    let pageblock = order.unwrap_or(config.pageblock_order);
    let mut free = Vec::new();
    let mut next = 0;
    for (at, spec) in list.into_iter().map(whole).enumerate() {
        let nid = Nid(spec.node.unwrap_or(u8::try_from(at).unwrap_or(u8::MAX)));
        if spec.mem.is_some() {
            let problem = format!("node {nid} has `mem` among nodes that list their zones");
            return Err(ImportError::new(file, problem)
                .field("nodes")
                .advise("Leave `mem` out; a node without zones has no memory."));
        }
        let mut node = nodes::memoryless(nid, config.arch);
        node.cpus = match spec.cpus {
            Some(Cpus::List(list)) => list,
            Some(Cpus::Count(n)) => number_on(file, &mut next, n)?,
            None => Vec::new(),
        };
        node.distances = spec.distances;
        node.owners = spec.owners.into();
        if let Some(zones) = spec.zones {
            let zones = [
                (ZoneType::Dma, zones.dma),
                (ZoneType::Dma32, zones.dma32),
                (ZoneType::Normal, zones.normal),
                (ZoneType::HighMem, zones.high_mem),
                (ZoneType::Movable, zones.movable),
                (ZoneType::Device, zones.device),
            ];
            for (kind, spec) in zones {
                let Some(spec) = spec else { continue };
                free.push((nid, kind, zone(file, config.arch, &mut node, kind, spec)?));
            }
        }
        config.nodes.push(node);
    }
    if config.nodes.iter().all(|n| n.distances.is_empty()) {
        nodes::infer_distances(&mut config);
    }
    check::spans(&config, file)?;
    let zones = config.nodes.iter_mut().flat_map(|n| n.zones.iter_mut().map(|z| (n.nid, z)));
    for (nid, zone) in zones {
        if let Some((.., free)) = free.iter().find(|f| (f.0, f.1) == (nid, zone.kind)) {
            free.apply(zone, pageblock);
        }
    }
    config.thp = profile::thp(config.arch, profile::managed(&config));
    Ok(config)
}

/// Fills a zone of the node; answers what is free in it, to be laid out once all spans are checked.
fn zone(
    file: &str,
    arch: Arch,
    node: &mut NodeConfig,
    kind: ZoneType,
    spec: ZoneSpec,
) -> Result<Free, ImportError> {
    let Some(zone) = node.zones.iter_mut().find(|z| z.kind == kind) else {
        let kinds: Vec<&str> = arch.zone_types().iter().map(|z| z.name()).collect();
        let problem = format!("{} has no zone {kind}", arch.name());
        let error = ImportError::new(file, problem).field(format!("Node {}, zone {kind}: zones", node.nid));
        return Err(error.advise(format!("Its zones are {}.", kinds.join(", "))));
    };
    let missing = spec.holes.iter().fold(0u64, |sum, hole| sum.saturating_add(hole.length));
    let present = spec.present.map_or(spec.spanned.0.saturating_sub(missing), |p| p.0);
    *zone = ZoneConfig {
        start_pfn: spec.start_pfn.0,
        spanned: spec.spanned.0,
        present,
        managed: spec.managed.map_or(present, |m| m.0),
        holes: spec.holes.iter().map(|h| (h.first, h.length)).collect(),
        pageblocks: spec.pageblocks.0,
        pcp: spec.pcp,
        lru: spec.lru.into(),
        cma: spec.cma,
        shown: spec.shown.map(|s| shown(s, arch.zone_types().len())),
        ..ZoneConfig::empty(kind)
    };
    Ok(spec.free.unwrap_or(Free::All))
}

fn shown(spec: ShownSpec, kinds: usize) -> Shown {
    let ShownSpec { boost, min, low, high, mut protection, highatomic, numa, pcp_high, pcp_batch } = spec;
    protection.resize(kinds, protection.last().copied().unwrap_or(0));
    Shown { boost, min, low, high, protection, highatomic, numa, pcp_high, pcp_batch: pcp_batch.max(1) }
}

fn late_freed(file: &str, spec: LateSpec) -> Result<LateFreed, ImportError> {
    let Some(zone) = ZoneType::from_name(&spec.zone) else {
        let mut error =
            ImportError::new(file, format!("zone {:?} is unknown", spec.zone)).field("late_freed");
        if let Some(meant) = nearest(&spec.zone, ZoneType::ALL.iter().map(|z| z.name())) {
            error = error.advise(format!("Did you mean {meant}?"));
        }
        return Err(error);
    };
    Ok(LateFreed { what: spec.what, node: Nid(spec.node), zone, pages: spec.pages })
}

fn swap_areas(file: &str, swap: Option<Many<SwapSpec>>) -> Result<Vec<SwapConfig>, ImportError> {
    let list = match swap {
        None => Vec::new(),
        Some(Many::Count(0)) => Vec::new(),
        Some(Many::Count(bytes)) => vec![OrSize::Size(Size(bytes))],
        Some(Many::List(list)) => list,
    };
    // A kernel has 29 swap areas at most (MAX_SWAPFILES).
    const MOST: usize = 29;
    if list.len() > MOST {
        let problem = format!("{} swap areas; a kernel has at most {MOST}", list.len());
        return Err(ImportError::new(file, problem).field("swap").advise("Leave some out."));
    }
    let area = |(at, spec): (usize, OrSize<SwapSpec>)| {
        let device = format!("/dev/vd{}", char::from(b'a' + (at % 26) as u8));
        let (name, pages, priority) = match spec {
            OrSize::Size(Size(bytes)) => (device, values::slots(bytes), None),
            OrSize::Whole(SwapSpec { name, size, pages, priority }) => {
                let pages = pages.or(size.map(|Size(bytes)| values::slots(bytes))).unwrap_or(0);
                (name.unwrap_or(device), pages, priority)
            }
        };
        if !(1..=check::MAX_PFN).contains(&pages) {
            let problem = format!("{name} has {pages} slots; an area has 1 to {}", check::MAX_PFN);
            let advice = "Give a `size` such as \"512M\", or `pages`; the first page is the header.";
            return Err(ImportError::new(file, problem).field("swap").advise(advice));
        }
        Ok(SwapConfig { name, pages, priority })
    };
    list.into_iter().enumerate().map(area).collect()
}
