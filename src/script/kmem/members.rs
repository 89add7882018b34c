//! `kmem -m`: chosen members of `struct page`.

use super::free::list_address;
use super::identify::{free_block, pfn_of};
use super::pages::SHOWN;
use crate::mm::Machine;
use crate::mm::addr::{Order, Pfn};
use crate::mm::config::MigrateType;
use crate::mm::lru::Lru;
use crate::mm::page::{Page, PageFlags, PageType};
use crate::script::answer::{ScriptResult, misuse};
use crate::script::table::{Cell, Record, Table};

/// What a member holds: digits of its own width, or a signed decimal number.
enum Value {
    Word(u64),
    Int(u32),
    Decimal(i64),
    /// The two pointers of a `list_head`: next, then previous.
    Links(u64, u64),
}

type Read = fn(&Machine, Pfn, &Page) -> Value;

/// Members that can be asked for, by their names in the kernel.
const MEMBERS: &[(&str, Read)] = &[
    ("flags", |m, pfn, page| Value::Word(m.page_flags_word(pfn, page))),
    ("_refcount", |_, _, page| Value::Int(page.refcount)),
    ("_mapcount", |m, pfn, page| Value::Decimal(i64::from(raw_mapcount(m, pfn, page)))),
    ("page_type", |m, pfn, page| Value::Int(raw_mapcount(m, pfn, page) as u32)),
    ("mapping", |m, pfn, page| Value::Word(super::owner::mapping(m, pfn, page).0)),
    ("index", |m, pfn, page| Value::Word(super::owner::mapping(m, pfn, page).1)),
    ("private", |m, pfn, page| Value::Word(private(m, pfn, page))),
    ("lru", |m, pfn, page| {
        let (next, prev) = links(m, pfn, page);
        Value::Links(next, prev)
    }),
    ("lru.next", |m, pfn, page| Value::Word(links(m, pfn, page).0)),
    ("lru.prev", |m, pfn, page| Value::Word(links(m, pfn, page).1)),
    ("compound_head", |m, _, page| Value::Word(compound_head(m, page))),
    ("slab_cache", |m, pfn, page| match m.slab_at(pfn) {
        Some(_) => Value::Word(super::owner::mapping(m, pfn, page).0),
        None => Value::Word(0),
    }),
];

/// Every member that can be asked for.
pub fn names() -> impl Iterator<Item = &'static str> {
    MEMBERS.iter().map(|(name, _)| *name)
}

/// The members of the page at an address, or of the machine's first pages.
pub fn of_pages(machine: &Machine, names: &str, at: Option<u64>) -> ScriptResult<Table> {
    let members = parse(names)?;
    let pages: Vec<Pfn> = match at {
        Some(addr) => match pfn_of(machine, addr) {
            Some(pfn) => vec![pfn],
            None => return misuse(format!("cannot determine page for {addr:x}")),
        },
        None => {
            let frames = (0..machine.mem_map.end_pfn()).map(Pfn);
            frames.filter(|pfn| machine.mem_map.contains(*pfn)).take(SHOWN as usize).collect()
        }
    };
    let digits = machine.config.arch.address_digits();
    let heading: Vec<&str> = members.iter().map(|(name, _)| *name).collect();
    let mut table = Table::new().head(format!("{:^digits$}  {}", "PAGE", heading.join("  ")));
    let mut records = Vec::new();
    for pfn in pages {
        let page = machine.mem_map.page(pfn);
        let mut line = format!("{:0digits$x}", machine.page_struct(pfn).0);
        let mut record: Record = vec![("page".into(), Cell::Addr(machine.page_struct(pfn).0))];
        for (name, read) in &members {
            let value = read(machine, pfn, &page);
            line += &format!("  {}", shown(&value, digits));
            record.push(((*name).into(), cell(value, digits)));
        }
        table = table.line(line);
        records.push(record);
    }
    let table = table.with_records(records);
    Ok(if at.is_some() { table } else { super::pages::told_if_cut(table, machine) })
}

fn parse(names: &str) -> ScriptResult<Vec<&'static (&'static str, Read)>> {
    names
        .split(',')
        .map(|name| match MEMBERS.iter().find(|(known, _)| *known == name.trim()) {
            Some(member) => Ok(member),
            None => {
                let known: Vec<&str> = MEMBERS.iter().map(|(known, _)| *known).collect();
                misuse(format!("struct page has no member {name:?} here; it has {}", known.join(", ")))
            }
        })
        .collect()
}

fn shown(value: &Value, digits: usize) -> String {
    match value {
        Value::Word(word) => format!("{word:0digits$x}"),
        Value::Int(int) => format!("{int:08x}"),
        Value::Decimal(n) => format!("{n:>9}"),
        Value::Links(next, prev) => format!("{next:0digits$x},{prev:0digits$x}"),
    }
}

fn cell(value: Value, digits: usize) -> Cell {
    match value {
        Value::Word(word) => Cell::Addr(word),
        Value::Int(int) => int.into(),
        Value::Decimal(n) => n.into(),
        Value::Links(..) => shown(&value, digits).into(),
    }
}

/// `_mapcount` begins at -1, and is `page_type` for pages that nobody can map: all bits but one are set.
pub fn raw_mapcount(machine: &Machine, pfn: Pfn, page: &Page) -> i32 {
    match page.page_type() {
        _ if free_head(machine, pfn).is_some() => !0x80,
        Some(PageType::Table) => !0x200,
        Some(_) => -1,
        None => page.mapcount() as i32 - 1,
    }
}

/// The order of a free block, or the slot of a page in the swap cache; other pages keep a number of ours there.
pub fn private(machine: &Machine, pfn: Pfn, page: &Page) -> u64 {
    match free_head(machine, pfn) {
        Some((order, _)) => order.get().into(),
        None if page.is(PageFlags::SWAPCACHE) => page.private.into(),
        None => 0,
    }
}

/// Order and type of the free block that begins here.
fn free_head(machine: &Machine, pfn: Pfn) -> Option<(Order, MigrateType)> {
    free_block(machine, pfn).filter(|(head, ..)| *head == pfn).map(|(_, order, mt)| (order, mt))
}

/// A tail's pointer to its head, with the lowest bit set.
pub fn compound_head(machine: &Machine, page: &Page) -> u64 {
    if page.is(PageFlags::TAIL) { machine.page_struct(Pfn(page.private)).0 + 1 } else { 0 }
}

/// The page's neighbours on its list, next and previous: their `lru` lies one word behind their start.
///
/// At the ends of a free list stands its head, at those of a list of reclaim 0. Free blocks and the lists of reclaim are threaded; per-CPU lists are not.
pub fn links(machine: &Machine, pfn: Pfn, page: &Page) -> (u64, u64) {
    let lru = |pfn: Pfn| machine.page_struct(pfn).0 + machine.config.arch.address_digits() as u64 / 2;
    let Some(id) = machine.mem_map.zone_of(pfn) else { return (0, 0) };
    let zone = &machine.zones[id.index()];
    if let Some((order, mt)) = free_head(machine, pfn) {
        let head = list_address(machine, zone, order, mt);
        let mut before = None;
        let mut blocks = zone.free_blocks(&machine.mem_map, order, mt);
        while let Some(block) = blocks.next().filter(|block| *block != pfn) {
            before = Some(block);
        }
        return (blocks.next().map_or(head, lru), before.map_or(head, lru));
    }
    if !page.is(PageFlags::LRU) {
        return (0, 0);
    }
    // The head of a list of reclaim lies in `struct lruvec`, which has no address here.
    let list = &machine.nodes[zone.pgdat].lruvec.lists[Lru::of(page) as usize];
    let next = if pfn == list.tail { 0 } else { lru(page.next) };
    let prev = if pfn == list.head { 0 } else { lru(page.prev) };
    (next, prev)
}
