//! `kmem`: kernel memory.

use crate::shell::crash::{Spelling, address};
use crate::shell::words::quoted;
use clap::Args;

/// Shows kernel memory: zones, free blocks, page structures, counters.
///
/// Without an option and with an address, it tells what lies at that address. In a script,
/// `kmem("-z")` answers the same table.
///
/// ```vmlab
/// > kmem -z | grep MIN
///   SIZE: 4095  PRESENT: 3998  MIN/LOW/HIGH: 110/137/164
/// > kmem -f | tail -1
/// nr_free_pages: 3072  (verified)
/// > kmem ffff888000010000
///       PAGE       PHYSICAL      MAPPING       INDEX CNT FLAGS
/// ffffea0000000400    10000                0        0  1 7ffffc0001000 reserved
///
/// page pfn=0x10, zone DMA of node 0: reserved: the buddy allocator never had it
///   physical 10000, direct map ffff888000010000, pageblock Movable
/// > kmem -g 36 | grep lru
///   PG_lru                   4  0000010
/// > kmem -i --script
/// memory_usage()
/// > kmem -x
/// kmem: invalid option -- 'x'
/// Usage:
///   kmem [-f|-F|-i|-n|-v|-z|-V|-p|-o|-h|-c] [-m MEMBERS] [-s CACHE] [-I CACHES] [-S CACHE] [-g FLAGS] [ADDRESS]
/// Enter "help kmem" for details.
/// ```
#[derive(Args)]
#[command(verbatim_doc_comment)]
pub struct Kmem {
    /// Free blocks of each zone, order and mobility, verified against the zone's own count
    #[arg(short = 'f')]
    free: bool,
    /// The same, with the address of every free block's page structure
    #[arg(short = 'F')]
    free_lists: bool,
    /// How memory is used, as a whole
    #[arg(short = 'i')]
    info: bool,
    /// Nodes, zones and memory sections
    #[arg(short = 'n')]
    nodes: bool,
    /// Areas of vmalloc
    #[arg(short = 'v')]
    vmalloc: bool,
    /// Zones: size, watermarks and counters
    #[arg(short = 'z')]
    zones: bool,
    /// Every counter of the kernel
    #[arg(short = 'V')]
    vmstat: bool,
    /// Page structures of the whole machine
    #[arg(short = 'p')]
    pages: bool,
    /// Chosen members of page structures, parted by commas: flags,_refcount,lru,…
    #[arg(short = 'm', value_name = "MEMBERS")]
    members: Option<String>,
    /// Offset of each CPU's own data
    #[arg(short = 'o')]
    offsets: bool,
    /// Pools of huge pages
    #[arg(short = 'h')]
    huge: bool,
    /// The size of the page cache, counted again
    #[arg(short = 'c')]
    cache: bool,
    /// Slab caches with their objects: all, by name, or the one that holds an address
    #[arg(short = 's', value_name = "CACHE", num_args = 0..=1, default_missing_value = "")]
    slab: Option<String>,
    /// Caches that -s shall leave out, parted by commas
    #[arg(short = 'I', value_name = "CACHES")]
    ignore: Option<String>,
    /// The slabs of a cache: what each CPU and node has of it
    #[arg(short = 'S', value_name = "CACHE")]
    slabs: Option<String>,
    /// Bits of page flags, or the names of the bits in a value
    #[arg(short = 'g', value_name = "FLAGS", num_args = 0..=1, default_missing_value = "")]
    flags: Option<String>,
    /// What to identify, or where to start: an address in hexadecimal
    #[arg(value_name = "ADDRESS")]
    address: Option<String>,
}

impl Spelling for Kmem {
    const NAME: &'static str = "kmem";
    const SEE_ALSO: &'static [&'static str] = &["vm", "ps", "zones", "cat /proc/zoneinfo", "why"];

    fn script(&self) -> Result<String, String> {
        self.one_mode()?;
        let at = self.address.as_deref().map(address).transpose()?;
        let call = |name: &str| Ok(format!("{name}({})", at.clone().unwrap_or_default()));
        if let Some(flags) = &self.flags {
            return match flags.as_str() {
                "" => Ok("page_flags()".into()),
                bits => match u64::from_str_radix(bits.trim_start_matches("0x"), 16) {
                    Ok(_) => Ok(format!("page_flags({})", quoted(bits))),
                    Err(_) => Err(format!("{bits:?} is not a hexadecimal number")),
                },
            };
        }
        if let Some(members) = &self.members {
            let at = at.map(|at| format!(", {at}")).unwrap_or_default();
            return Ok(format!("page_members({}{at})", quoted(members)));
        }
        if let Some(name) = &self.slab {
            let name = quoted(name);
            return Ok(match &self.ignore {
                Some(ignore) => format!("slab_caches({name}, {})", quoted(ignore)),
                None if name == "\"\"" => "slab_caches()".into(),
                None => format!("slab_caches({name})"),
            });
        }
        if let Some(name) = &self.slabs {
            return Ok(format!("slab_lists({})", quoted(name)));
        }
        match self {
            Kmem { free: true, .. } => call("free_areas"),
            Kmem { free_lists: true, .. } => call("free_lists"),
            Kmem { info: true, .. } => Ok("memory_usage()".into()),
            Kmem { nodes: true, .. } => Ok("node_map()".into()),
            Kmem { vmalloc: true, .. } => Ok("vmap_areas()".into()),
            Kmem { zones: true, .. } => Ok("zone_stats()".into()),
            Kmem { vmstat: true, .. } => Ok("vm_stat()".into()),
            Kmem { pages: true, .. } => call("mem_map"),
            Kmem { offsets: true, .. } => Ok("percpu_offsets()".into()),
            Kmem { cache: true, .. } => Ok("page_cache_size()".into()),
            Kmem { huge: true, .. } => Ok("hstates()".into()),
            _ if at.is_some() => call("whatis"),
            _ => Err(String::new()),
        }
    }

    fn by_hand(&self) -> Option<String> {
        match self {
            Kmem { free: true, address: None, .. } => Some(
                "for z in zones() {\n    for order in 0..=10 { print(`${z.name} ${order}: ${z.free_area[order]}`); }\n}".into(),
            ),
            Kmem { zones: true, .. } => {
                Some("for z in zones() { print(`${z.name}: free ${z.free}, ${z.min}/${z.low}/${z.high}`); }".into())
            }
            _ => None,
        }
    }
}

impl Kmem {
    /// Each of these shows something else; two at once would have to leave one out.
    fn one_mode(&self) -> Result<(), String> {
        let modes = [
            ("-f", self.free),
            ("-F", self.free_lists),
            ("-i", self.info),
            ("-n", self.nodes),
            ("-v", self.vmalloc),
            ("-z", self.zones),
            ("-V", self.vmstat),
            ("-p", self.pages),
            ("-m", self.members.is_some()),
            ("-o", self.offsets),
            ("-h", self.huge),
            ("-c", self.cache),
            ("-s", self.slab.is_some()),
            ("-S", self.slabs.is_some()),
            ("-g", self.flags.is_some()),
        ];
        let chosen: Vec<&str> = modes.iter().filter(|(_, on)| *on).map(|(option, _)| *option).collect();
        match chosen.as_slice() {
            [first, second, ..] => Err(format!("{first} and {second} cannot be used together")),
            [] | [_] if self.ignore.is_some() && self.slab.is_none() => Err("-I goes with -s".into()),
            _ => Ok(()),
        }
    }
}
