//! Anonymous pages that were there at boot find an owner: init.
//!
//! Kernel: none; a captured machine had run for a while.
//! Fidelity: ours.

use crate::mm::addr::{PAGE_SHIFT, PAGE_SIZE, Pfn, VirtAddr};
use crate::mm::lru::Lru;
use crate::mm::machine::Machine;
use crate::mm::page::PageType;
use crate::mm::pgtable::Pte;
use crate::mm::pid::INIT_PID;
use crate::mm::task::Rss;
use crate::mm::vma::{VmFlags, Vma};
use crate::mm::vmstat::NodeStat;

/// The lists of anonymous pages.
const ANON_LISTS: [Lru; 2] = [Lru::InactiveAnon, Lru::ActiveAnon];

impl Machine {
    /// Gives init the anonymous pages that were there at boot, mapped in its heap.
    ///
    /// Its page tables are frames that the spec counted as page tables: nothing is allocated, and what was imported
    /// stays as it was. A spec with too few of them, or with several gigabytes, leaves the pages without an owner.
    pub(crate) fn adopt_anonymous_pages(&mut self) {
        const MOST: usize = 1 << 18;
        let lists = self.nodes.iter().flat_map(|n| ANON_LISTS.map(|l| n.lruvec.lists[l as usize]));
        let pages: Vec<Pfn> = lists.flat_map(|list| list.iter(&self.mem_map).collect::<Vec<_>>()).collect();
        let is_table = |pfn: &Pfn| self.mem_map.page(*pfn).page_type() == Some(PageType::Table);
        let tables: Vec<Pfn> = self.mem_map.touched().filter(is_table).take(4 + pages.len() / 512).collect();
        if pages.is_empty() || pages.len() > MOST || tables.len() < 4 + pages.len() / 512 {
            self.tasks.insert(INIT_PID, self.new_task(INIT_PID, 0, "init", None));
            return;
        }
        let mut frames = tables.into_iter();
        let Some(pfn) = frames.next() else { return };
        let pgd = self.tables.insert_upper(pfn, self.tables.geometry.top());
        let mm = self.mm_with(pgd);
        self.tasks.insert(INIT_PID, self.new_task(INIT_PID, 0, "init", Some(mm)));
        let (start, len) = (self.layout.program_brk, pages.len() as u64 * PAGE_SIZE);
        let flags = VmFlags(3).with(VmFlags::MAY_ALL).with(VmFlags::ACCOUNT);
        // Its structure is one of those that the spec counted.
        let vma = self.insert_vma(Vma::new(mm, start..start + len, flags, start >> PAGE_SHIFT));
        self.vm_stat_account(mm, flags, (len >> PAGE_SHIFT) as i64);
        self.committed_as += pages.len() as u64;
        self.mms[mm].brk = start + len;
        let anon = self.anon_vma_prepare(vma);
        let counted: Vec<_> = self.nodes.iter().map(|n| n.stat).collect();
        for (n, pfn) in pages.iter().enumerate() {
            let addr = VirtAddr(start + n as u64 * PAGE_SIZE);
            let Some(leaf) = self.leaf_from(mm, addr, &mut frames) else { break };
            self.page_add_new_anon_rmap(*pfn, vma, anon, addr);
            self.tables.set(leaf, addr, Pte::new(*pfn, flags.page_prot() | Pte::RW | Pte::DIRTY));
            self.add_rss(mm, Rss::Anon, 1);
        }
        // The spec has counted these pages and tables already.
        for (node, stat) in self.nodes.iter_mut().zip(counted) {
            let mapped = node.stat[NodeStat::AnonPages as usize];
            node.stat = stat;
            let least = mapped - stat[NodeStat::AnonPages as usize];
            let counter = &mut node.stat[NodeStat::AnonPages as usize];
            *counter = (*counter).max(least);
        }
    }
}
