//! `struct page`.
//!
//! Kernel: `include/linux/mm_types.h`.

use super::member::{Member, Value, anonymous, list, member};
use crate::mm::Machine;
use crate::mm::addr::Pfn;
use crate::script::kmem::members;
use crate::script::kmem::owner::mapping;

/// A page's structure. What stands in its union depends on what the page is for: the others are zero here.
pub fn page(machine: &Machine, pfn: Pfn) -> Vec<Member> {
    let page = &machine.mem_map.page(pfn);
    let (next, prev) = members::links(machine, pfn, page);
    let (mapping, index) = mapping(machine, pfn, page);
    let raw = members::raw_mapcount(machine, pfn, page);
    vec![
        member("unsigned long", "flags", 0, Value::Number(machine.page_flags_word(pfn, page))),
        anonymous(
            "union",
            vec![
                anonymous(
                    "struct",
                    vec![
                        anonymous(
                            "union",
                            vec![
                                member("struct list_head", "lru", 8, list(next, prev)),
                                member("struct list_head", "buddy_list", 8, list(next, prev)),
                                member("struct list_head", "pcp_list", 8, list(next, prev)),
                            ],
                        ),
                        member("struct address_space *", "mapping", 24, Value::Pointer(mapping)),
                        member("unsigned long", "index", 32, Value::Number(index)),
                        member(
                            "unsigned long",
                            "private",
                            40,
                            Value::Number(members::private(machine, pfn, page)),
                        ),
                    ],
                ),
                anonymous(
                    "struct",
                    vec![member(
                        "unsigned long",
                        "compound_head",
                        8,
                        Value::Number(members::compound_head(machine, page)),
                    )],
                ),
            ],
        ),
        anonymous(
            "union",
            vec![
                member("atomic_t", "_mapcount", 48, Value::Counter(raw.into())),
                member("unsigned int", "page_type", 48, Value::Number(u64::from(raw as u32))),
            ],
        ),
        member("atomic_t", "_refcount", 52, Value::Counter(i64::from(page.refcount as i32))),
    ]
}
