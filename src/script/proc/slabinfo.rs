//! /proc/slabinfo: one line for each cache, the newest first.
//!
//! Kernel: `mm/slab_common.c`, `cache_show`.

use crate::mm::Machine;
use crate::script::table::{Cell, Table};

/// The file.
pub fn table(machine: &Machine) -> Table {
    let mut table = Table::new().head("slabinfo - version: 2.1").head(
        "# name            <active_objs> <num_objs> <objsize> <objperslab> <pagesperslab> : tunables <limit> <batchcount> <sharedfactor> : slabdata <active_slabs> <num_slabs> <sharedavail>",
    );
    let mut records = Vec::new();
    for &id in machine.caches.order.iter().rev() {
        let (cache, info) = (&machine.caches.all[id], machine.slabinfo(id));
        table = table.line(format!(
            "{:<17} {:>6} {:>6} {:>6} {:>4} {:>4} : tunables {:>4} {:>4} {:>4} : slabdata {:>6} {:>6} {:>6}",
            cache.name(),
            info.active_objs,
            info.num_objs,
            cache.size,
            info.objects_per_slab,
            1 << info.cache_order,
            info.limit,
            info.batchcount,
            info.shared,
            info.active_slabs,
            info.num_slabs,
            info.shared_avail
        ));
        records.push(vec![
            ("name".into(), cache.name().into()),
            ("active_objs".into(), info.active_objs.into()),
            ("num_objs".into(), info.num_objs.into()),
            ("objsize".into(), cache.size.into()),
            ("objperslab".into(), info.objects_per_slab.into()),
            ("pagesperslab".into(), Cell::from(1u32 << info.cache_order)),
            ("num_slabs".into(), info.num_slabs.into()),
        ]);
    }
    table.with_records(records)
}
