//! Memory pools: a reserve for those who must not fail.
//!
//! ```text
//!   mempool_alloc ─► the cache ─ none left ─► the reserve ─ empty ─► sleep, and ask again
//!   mempool_free  ─► the reserve, until it is full again; then the cache
//! ```
//!
//! Writing a page out takes memory; with a pool, whoever frees memory can always go on, one at a time.
//!
//! Kernel: `mm/mempool.c`.
//! Fidelity: faithful — order of the attempts and their masks, what is kept, sleeping. Ours — an element that the pool
//! did not give is always noticed; a sleeper that nobody can wake is reported as a hung task.

use crate::mm::addr::{Order, VirtAddr};
use crate::mm::errno::{Errno, Oops};
use crate::mm::gfp::Gfp;
use crate::mm::machine::Machine;
use crate::mm::slab_common::CacheId;
use crate::mm::slots::Id;

/// The number of a pool.
pub type MempoolId = Id<Mempool>;

/// A sleeper looks again after so long, in nanoseconds.
const RETRY: u64 = 5_000_000_000;
/// Attempts after which a sleeper is reported (`hung_task_timeout_secs` is 120).
const HUNG: u64 = 120_000_000_000 / RETRY;
/// Bytes of a pool's descriptor.
const SIZEOF_MEMPOOL: u64 = 72;

/// Where a pool gets its elements.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Source {
    /// Objects of a cache (`mempool_create_slab_pool`).
    Cache(CacheId),
    /// So many bytes of kmalloc (`mempool_create_kmalloc_pool`).
    Kmalloc(u64),
    /// Blocks of pages (`mempool_create_page_pool`).
    Pages(Order),
}

/// A reserve of elements (`mempool_t`).
#[derive(Clone, Debug)]
pub struct Mempool {
    /// Elements that are kept.
    pub min_nr: u32,
    /// Where they come from.
    pub source: Source,
    /// The reserve; the last one in is the first one out.
    elements: Vec<VirtAddr>,
    /// Allocations from the source, from the reserve, and times somebody slept.
    pub counts: [u64; 3],
    /// The descriptor, and the array of elements.
    memory: [VirtAddr; 2],
}

impl Mempool {
    /// Elements in the reserve.
    pub fn curr_nr(&self) -> u32 {
        self.elements.len() as u32
    }

    /// Is this an element of the reserve?
    pub fn keeps(&self, element: VirtAddr) -> bool {
        self.elements.contains(&element)
    }
}

impl Machine {
    /// Makes a pool and fills its reserve (`mempool_create`).
    ///
    /// # Errors
    /// `EINVAL` for a reserve of none; `ENOMEM` when it cannot be filled: nothing is held then.
    pub fn mempool_create(&mut self, min_nr: u32, source: Source) -> Result<MempoolId, Errno> {
        if min_nr == 0 {
            return Err(Errno::EINVAL);
        }
        let descriptor = self.kmalloc(SIZEOF_MEMPOOL, Gfp::KERNEL)?;
        let word = u64::from(self.config.arch.pointer_bytes());
        let array = match self.kmalloc_array(min_nr.into(), word, Gfp::KERNEL) {
            Ok(array) => array,
            Err(errno) => {
                self.kfree_own(descriptor);
                return Err(errno);
            }
        };
        let memory = [descriptor, array];
        let mut pool = Mempool { min_nr, source, elements: Vec::new(), counts: [0; 3], memory };
        while pool.elements.len() < min_nr as usize {
            match self.source_alloc(source, Gfp::KERNEL) {
                Ok(element) => pool.elements.push(element),
                Err(errno) => {
                    self.empty_pool(pool);
                    return Err(errno);
                }
            }
        }
        Ok(self.mempools.insert(pool))
    }

    /// What nobody else holds goes back to kmalloc; the log tells of what was written where nobody may.
    fn kfree_own(&mut self, addr: VirtAddr) {
        let _ = self.kfree(addr);
    }

    /// The pool that keeps something at an address.
    pub(crate) fn mempool_holding(&self, addr: VirtAddr) -> Option<String> {
        self.mempools.iter().find_map(|(_, pool)| {
            let part = if pool.keeps(addr) {
                "an element in the reserve"
            } else if pool.memory.contains(&addr) {
                "the descriptor"
            } else {
                return None;
            };
            Some(format!("{part} of a mempool of {}", pool.min_nr))
        })
    }

    fn empty_pool(&mut self, pool: Mempool) {
        for element in pool.elements {
            let _ = self.source_free(pool.source, element);
        }
        pool.memory.into_iter().for_each(|addr| self.kfree_own(addr));
    }

    fn source_alloc(&mut self, source: Source, gfp: Gfp) -> Result<VirtAddr, Errno> {
        match source {
            // A cache that was destroyed under its pool gives nothing more.
            Source::Cache(id) if self.caches.all.get(id).is_none() => Err(Errno::ENOMEM),
            Source::Cache(id) => self.kmem_cache_alloc(id, gfp),
            Source::Kmalloc(size) => self.kmalloc(size, gfp),
            Source::Pages(order) => self.alloc_pages(gfp, order).map(|pfn| self.phys_to_virt(pfn.phys())),
        }
    }

    fn source_free(&mut self, source: Source, element: VirtAddr) -> Result<(), Oops> {
        match source {
            Source::Cache(id) if self.caches.all.get(id).is_none() => {
                Err(self.not_an_object("mempool_free", element))
            }
            Source::Cache(id) => self.kmem_cache_free(id, element),
            Source::Kmalloc(_) => self.kfree(element),
            Source::Pages(order) => match self.virt_to_pfn(element) {
                Some(pfn) => self.free_pages(pfn, order),
                None => Err(self.not_an_object("mempool_free", element)),
            },
        }
    }

    /// Takes an element: from the source, else from the reserve, else after a sleep (`mempool_alloc`).
    ///
    /// # Errors
    /// `ENOMEM` for a caller that may not sleep. The report of a hung task when the reserve is empty, the source has
    /// nothing, and nobody gives an element back: a script cannot go on, as the kernel's thread would not.
    pub fn mempool_alloc(&mut self, id: MempoolId, gfp: Gfp) -> Result<Result<VirtAddr, Errno>, Oops> {
        let source = self.mempools[id].source;
        // The reserves of the page allocator are for others: this one is ours.
        let whole = gfp | Gfp::NOMEMALLOC | Gfp::NORETRY | Gfp::NOWARN;
        let gentle = whole.without(Gfp::DIRECT_RECLAIM | Gfp::IO);
        for turn in 0..HUNG {
            for (attempt, mask) in [gentle, whole].into_iter().enumerate() {
                // After a sleep the whole mask is used at once.
                if turn > 0 && attempt == 0 || attempt == 1 && gentle == whole {
                    continue;
                }
                if let Ok(element) = self.source_alloc(source, mask) {
                    self.mempools[id].counts[0] += 1;
                    return Ok(Ok(element));
                }
                let pool = &mut self.mempools[id];
                if let Some(element) = pool.elements.pop() {
                    pool.counts[1] += 1;
                    return Ok(Ok(element));
                }
            }
            if !gfp.may_sleep() {
                return Ok(Err(Errno::ENOMEM));
            }
            self.mempools[id].counts[2] += 1;
            self.sleep_for(RETRY);
        }
        let (pid, comm, min_nr) = (self.current.pid, self.current.comm, self.mempools[id].min_nr);
        let line = format!("INFO: task {comm}:{pid} blocked for more than 120 seconds.");
        self.printk(line.clone());
        self.dump_stack(&["io_schedule_timeout", "mempool_alloc"]);
        let advice = format!(
            "all {min_nr} elements of the reserve are out, the source has none, and only mempool_free would wake the caller; \
             give one back first, or ask with GFP_NOWAIT"
        );
        Err(Oops::new(line, advice))
    }

    /// Gives an element back: to the reserve until it is full, else to the source (`mempool_free`); NULL is nothing.
    ///
    /// # Errors
    /// The kernel's complaint about an element that is none, or in the reserve already; nothing was changed.
    pub fn mempool_free(&mut self, element: VirtAddr, id: MempoolId) -> Result<(), Oops> {
        if element.0 == 0 {
            return Ok(());
        }
        let pool = &self.mempools[id];
        if pool.keeps(element) {
            let line = "BUG: mempool element poison mismatch".to_string();
            self.printk(line.clone());
            self.dump_stack(&["poison_error", "mempool_free"]);
            return Err(Oops::new(
                line,
                format!("{element} is in the reserve already: it was given back before"),
            ));
        }
        if pool.curr_nr() >= pool.min_nr {
            return self.source_free(pool.source, element);
        }
        if !self.is_element(pool.source, element) {
            return Err(self.not_an_object("mempool_free", element));
        }
        self.mempools[id].elements.push(element);
        Ok(())
    }

    /// Could the source have given it, and is it in use?
    fn is_element(&self, source: Source, element: VirtAddr) -> bool {
        let object = self.find_object(element).filter(|object| object.start == element && object.allocated);
        match source {
            Source::Cache(id) => object.is_some_and(|object| object.cache == id),
            Source::Kmalloc(_) => {
                object.is_some()
                    || self.virt_to_pfn(element).is_some_and(|pfn| self.mem_map.page(pfn).refcount > 0)
            }
            Source::Pages(order) => self.virt_to_pfn(element).is_some_and(|pfn| {
                let page = self.mem_map.page(pfn);
                page.refcount > 0 && page.order() == order
            }),
        }
    }

    /// Gives up a pool with its reserve (`mempool_destroy`); elements that are out are their users' to free.
    pub fn mempool_destroy(&mut self, id: MempoolId) {
        if let Some(pool) = self.mempools.remove(id) {
            self.empty_pool(pool);
        }
    }

    /// A reserve is no larger than it shall be, and what is in it is in use and there once.
    pub(crate) fn first_wrong_mempool(&self) -> Option<String> {
        self.mempools.iter().find_map(|(id, pool)| {
            let mut elements = pool.elements.clone();
            elements.sort_unstable();
            elements.dedup();
            let once = elements.len() == pool.elements.len();
            let stray = pool.elements.iter().find(|element| !self.is_element(pool.source, **element));
            let wrong = !once || pool.curr_nr() > pool.min_nr || stray.is_some();
            wrong.then(|| format!("pool {id:?}: {} of {}, stray {stray:?}", pool.curr_nr(), pool.min_nr))
        })
    }
}
