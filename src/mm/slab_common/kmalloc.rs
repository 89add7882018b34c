//! `kmalloc`: size classes, large blocks, sizes of what was given.
//!
//! ```text
//!   size   1..8  9..16  17..32  33..64  65..96  97..128  129..192  193..256  …  4097..8192   above
//!   class     8     16      32      64      96      128       192       256  …          8k   2^n pages
//! ```
//!
//! Gorman 8.4. Kernel: `mm/slab_common.c`, `include/linux/slab.h`.
//! Fidelity: faithful — classes and types of 6.1, large kmallocs by order of pages, `ksize`, `krealloc` in place or moved.

use super::{Allocator, CacheArgs, CacheId, LastSlabAlloc, SlabFlags, SlabPath};
use crate::mm::addr::{Order, PAGE_SHIFT, PAGE_SIZE, Pfn, VirtAddr};
use crate::mm::config::{Arch, ZoneType};
use crate::mm::errno::{Errno, Oops};
use crate::mm::gfp::Gfp;
use crate::mm::machine::Machine;
use crate::mm::page::PageFlags;
use crate::mm::panic::Taint;
use crate::mm::vmstat::NodeStat;

/// Size classes, the unused class 0 counted.
pub(crate) const CLASSES: usize = 14;
/// Sizes up to here have classes that are no powers of two among them.
pub(crate) const SMALL: usize = 192;
/// The largest size that comes from a cache.
pub const KMALLOC_MAX_CACHE_SIZE: u64 = 2 * PAGE_SIZE;
/// The largest size at all: the largest block of the buddy allocator.
pub const KMALLOC_MAX_SIZE: u64 = PAGE_SIZE << 10;
/// What `kmalloc(0)` answers: it can be freed, and nothing else.
pub const ZERO_SIZE_PTR: VirtAddr = VirtAddr(16);

/// Bytes and name of each class (`kmalloc_info`).
const INFO: [(u32, &str); CLASSES] = [
    (0, ""),
    (96, "96"),
    (192, "192"),
    (8, "8"),
    (16, "16"),
    (32, "32"),
    (64, "64"),
    (128, "128"),
    (256, "256"),
    (512, "512"),
    (1024, "1k"),
    (2048, "2k"),
    (4096, "4k"),
    (8192, "8k"),
];

/// What kind of cache a mask leads to (`enum kmalloc_cache_type`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum KmallocType {
    /// Most requests.
    Normal,
    /// Charged to a memory cgroup: `__GFP_ACCOUNT`.
    Cgroup,
    /// `__GFP_RECLAIMABLE`.
    Reclaim,
    /// `__GFP_DMA`.
    Dma,
}

impl KmallocType {
    /// How many there are.
    pub const COUNT: usize = 4;
    /// Every type, in the order in which their caches are made.
    pub const ALL: [KmallocType; KmallocType::COUNT] =
        [KmallocType::Normal, KmallocType::Cgroup, KmallocType::Reclaim, KmallocType::Dma];

    /// What a mask leads to (`kmalloc_type`), on an architecture without some of them too.
    #[inline]
    pub fn of(gfp: Gfp) -> KmallocType {
        if !gfp.any(Gfp::DMA | Gfp::ACCOUNT | Gfp::RECLAIMABLE) {
            KmallocType::Normal
        } else if gfp.has(Gfp::DMA) {
            KmallocType::Dma
        } else if gfp.has(Gfp::RECLAIMABLE) {
            KmallocType::Reclaim
        } else {
            KmallocType::Cgroup
        }
    }

    /// What the names of its caches begin with.
    pub fn prefix(self) -> &'static str {
        match self {
            KmallocType::Normal => "kmalloc-",
            KmallocType::Cgroup => "kmalloc-cg-",
            KmallocType::Reclaim => "kmalloc-rcl-",
            KmallocType::Dma => "dma-kmalloc-",
        }
    }

    /// What its caches are like.
    pub fn flags(self) -> SlabFlags {
        match self {
            KmallocType::Normal => SlabFlags::NONE,
            KmallocType::Cgroup => SlabFlags::ACCOUNT,
            KmallocType::Reclaim => SlabFlags::RECLAIM_ACCOUNT,
            KmallocType::Dma => SlabFlags::CACHE_DMA,
        }
    }

    /// Was this kernel built with these caches?
    pub fn exists(self, arch: Arch) -> bool {
        match self {
            KmallocType::Normal | KmallocType::Reclaim => true,
            // CONFIG_MEMCG_KMEM.
            KmallocType::Cgroup => arch != Arch::Uml && arch != Arch::Arm,
            KmallocType::Dma => arch.zone_types().contains(&ZoneType::Dma),
        }
    }
}

/// The class of sizes that end with a power of two.
#[inline]
fn power_of_two(size: u64) -> usize {
    (64 - (size - 1).leading_zeros()) as usize
}

/// The class of a size from 1 to [`KMALLOC_MAX_CACHE_SIZE`] (`kmalloc_index`).
#[inline]
pub fn kmalloc_index(arch: Arch, size: u64) -> usize {
    debug_assert!((1..=KMALLOC_MAX_CACHE_SIZE).contains(&size));
    let size = size.max(u64::from(arch.kmalloc_min_size()));
    match size {
        0..=8 => 3,
        // The two classes that are no power of two; none where the least alignment is larger.
        65..=96 => 1,
        129..=192 if arch.kmalloc_min_size() < 128 => 2,
        size => power_of_two(size),
    }
}

/// The name of a kmalloc cache: `kmalloc-64`.
pub fn kmalloc_name(kind: KmallocType, index: usize) -> String {
    format!("{}{}", kind.prefix(), INFO[index].1)
}

impl Machine {
    /// The smallest class; SLOB has one heap, no classes, and SLAB's smallest is 32 (`KMALLOC_SHIFT_LOW`).
    fn least_kmalloc_class(&self) -> Option<u32> {
        let least = self.config.arch.kmalloc_min_size();
        match self.caches.allocator {
            Allocator::Slub => Some(least),
            Allocator::Slab => Some(least.max(32)),
            Allocator::Slob => None,
        }
    }

    /// Which class small sizes belong to, before there are caches (`setup_kmalloc_cache_index_table`).
    pub(crate) fn setup_kmalloc_cache_index_table(&mut self) {
        let (arch, Some(least)) = (self.config.arch, self.least_kmalloc_class()) else { return };
        let class = |n: usize| kmalloc_index(arch, u64::from(least).max(8 * (n as u64 + 1))) as u8;
        self.caches.size_index = std::array::from_fn(class);
    }

    /// Makes the caches of kmalloc that are not there yet (`create_kmalloc_caches`).
    pub(crate) fn create_kmalloc_caches(&mut self) {
        let (arch, Some(least)) = (self.config.arch, self.least_kmalloc_class()) else { return };
        let low = least.trailing_zeros() as usize;
        for kind in KmallocType::ALL.into_iter().filter(|kind| kind.exists(arch)) {
            for index in low..CLASSES {
                self.new_kmalloc_cache(kind, index);
                match index {
                    6 if arch.kmalloc_min_size() <= 32 => self.new_kmalloc_cache(kind, 1),
                    7 if arch.kmalloc_min_size() <= 64 => self.new_kmalloc_cache(kind, 2),
                    _ => {}
                }
            }
        }
    }

    fn new_kmalloc_cache(&mut self, kind: KmallocType, index: usize) {
        if self.caches.kmalloc[kind as usize][index].is_some() {
            return;
        }
        let name = kmalloc_name(kind, index);
        let size = u64::from(INFO[index].0);
        // Powers of two are aligned to their size (create_boot_cache).
        let natural = if size.is_power_of_two() { size } else { 0 };
        let args = CacheArgs {
            name: &name,
            size,
            align: natural.max(u64::from(self.config.arch.kmalloc_min_size())),
            flags: kind.flags() | SlabFlags::KMALLOC,
            ctor: false,
            usersize: true,
        };
        if let Ok(id) = self.insert_cache(&args) {
            self.caches.kmalloc[kind as usize][index] = Some(id);
        }
    }

    /// The cache behind a name of kmalloc's becomes the class's own.
    pub(crate) fn adopt_kmalloc_cache(&mut self, id: CacheId) {
        let name = self.caches.all[id].name();
        for kind in KmallocType::ALL {
            let class =
                name.strip_prefix(kind.prefix()).and_then(|size| INFO.iter().position(|i| i.1 == size));
            if let Some(index) = class.filter(|index| *index > 0) {
                self.caches.kmalloc[kind as usize][index] = Some(id);
                return;
            }
        }
    }

    /// The cache that a request of this size and mask is served from (`kmalloc_slab`); `None` for a large one.
    #[inline]
    pub fn kmalloc_slab(&self, size: u64, gfp: Gfp) -> Option<CacheId> {
        if size == 0 || size > KMALLOC_MAX_CACHE_SIZE {
            return None;
        }
        let small = self.caches.size_index.get((size as usize - 1) / 8);
        let index = small.map_or_else(|| power_of_two(size), |class| usize::from(*class));
        let kind = KmallocType::of(gfp);
        // Without a zone for DMA or without memory cgroups these types are the normal one.
        self.caches
            .kmalloc_cache(kind, index)
            .or_else(|| self.caches.kmalloc_cache(KmallocType::Normal, index))
    }

    /// Allocates memory of the kernel, near a node if one is named (`kmalloc`, `kmalloc_node`).
    ///
    /// # Errors
    /// `ENOMEM` when there is none, or for more than [`KMALLOC_MAX_SIZE`]; `EINVAL` for a node that is not there.
    #[inline]
    pub fn kmalloc_node(&mut self, size: u64, gfp: Gfp, node: Option<usize>) -> Result<VirtAddr, Errno> {
        match self.kmalloc_slab(size, gfp) {
            Some(id) => self.slab_alloc(id, gfp, node, size),
            None if size == 0 => Ok(ZERO_SIZE_PTR),
            None => self.kmalloc_large(size, gfp, node),
        }
    }

    /// Allocates memory of the kernel near the CPU that asks (`kmalloc`).
    ///
    /// # Errors
    /// As [`Machine::kmalloc_node`].
    #[inline]
    pub fn kmalloc(&mut self, size: u64, gfp: Gfp) -> Result<VirtAddr, Errno> {
        self.kmalloc_node(size, gfp, None)
    }

    /// Allocates room for `n` elements; refuses a product that does not fit (`kmalloc_array`, `kcalloc`).
    ///
    /// # Errors
    /// `ENOMEM` when the product overflows or there is no memory.
    pub fn kmalloc_array(&mut self, n: u64, size: u64, gfp: Gfp) -> Result<VirtAddr, Errno> {
        let bits = 8 * self.config.arch.pointer_bytes();
        let bytes =
            n.checked_mul(size).filter(|bytes| bits == 64 || *bytes >> bits == 0).ok_or(Errno::ENOMEM)?;
        self.kmalloc(bytes, gfp)
    }

    /// A block of pages, for sizes above the caches (`__kmalloc_large_node`).
    #[cold]
    fn kmalloc_large(&mut self, size: u64, gfp: Gfp, node: Option<usize>) -> Result<VirtAddr, Errno> {
        if self.caches.allocator == Allocator::Slob {
            return self.slob_kmalloc(size, gfp, node);
        }
        let Some(order) = Order::holding(size.div_ceil(PAGE_SIZE)) else {
            return Err(Errno::ENOMEM);
        };
        let gfp = self.fix_slab_gfp(gfp) | Gfp::COMP;
        let pfn = self.alloc_pages_at(node.unwrap_or(self.mem_node()), gfp, order)?;
        self.mem_map.page_mut(pfn).mapping = LARGE;
        self.count_kernel_pages(pfn, NodeStat::SlabUnreclaimable, i64::from(order.pages()));
        let addr = self.phys_to_virt(pfn.phys());
        let path = SlabPath::Large { order };
        self.caches.last =
            Some(LastSlabAlloc { at: self.clock, cache: None, requested: size, gfp, addr, path });
        Ok(addr)
    }

    /// Bits that make no sense for objects are taken away, with a line in the log (`kmalloc_fix_flags`).
    pub(crate) fn fix_slab_gfp(&mut self, gfp: Gfp) -> Gfp {
        const BUG_MASK: Gfp = Gfp(Gfp::HIGHMEM.0 | Gfp::DMA32.0);
        if !gfp.any(BUG_MASK) {
            return gfp;
        }
        let (bad, fixed) = (Gfp(gfp.0 & BUG_MASK.0), gfp.without(BUG_MASK));
        self.printk(format!(
            "Unexpected gfp: {:#x} ({bad}). Fixing up to gfp: {:#x} ({fixed}). Fix your code!",
            bad.0, fixed.0
        ));
        self.dump_stack(&["new_slab", "___slab_alloc", "__kmem_cache_alloc_node", "__kmalloc"]);
        fixed
    }

    /// Frees what `kmalloc` gave (`kfree`); NULL and [`ZERO_SIZE_PTR`] are nothing to free.
    ///
    /// # Errors
    /// The kernel's complaint when it is no object, free already, or was written where nobody may write.
    #[inline]
    pub fn kfree(&mut self, addr: VirtAddr) -> Result<(), Oops> {
        if self.slab_free_fast(addr) {
            return Ok(());
        }
        self.kfree_further(addr)
    }

    #[cold]
    fn kfree_further(&mut self, addr: VirtAddr) -> Result<(), Oops> {
        if addr.0 <= ZERO_SIZE_PTR.0 {
            return Ok(());
        }
        let head = self.virt_to_head(addr).filter(|pfn| self.phys_to_virt(pfn.phys()).0 <= addr.0);
        let Some(head) = head else { return Err(self.not_an_object("kfree", addr)) };
        let page = self.mem_map.page(head);
        if page.is(PageFlags::SLAB) {
            return self.slab_free(addr);
        }
        if page.mapping == LARGE
            && page.refcount > 0
            && addr.offset() == 0
            && Some(addr) == self.page_address(head)
        {
            return self.free_large_kmalloc(head);
        }
        Err(self.not_an_object("kfree", addr))
    }

    fn free_large_kmalloc(&mut self, head: Pfn) -> Result<(), Oops> {
        let order = self.mem_map.page(head).order();
        self.mem_map.page_mut(head).mapping = 0;
        self.count_kernel_pages(head, NodeStat::SlabUnreclaimable, -i64::from(order.pages()));
        self.free_pages(head, order)
    }

    /// The kernel's complaint about an address that no cache gave out; nothing is freed.
    #[cold]
    pub(crate) fn not_an_object(&mut self, call: &str, addr: VirtAddr) -> Oops {
        let digits = self.config.arch.address_digits();
        let pfn = self.virt_to_pfn(addr);
        let (line, advice) = match pfn {
            None => (
                format!(
                    "BUG: unable to handle page fault for address: {:0digits$x}",
                    self.garbage_page_struct(addr)
                ),
                format!("{call}({addr}): that is no address of the direct map, so no page stands behind it"),
            ),
            Some(pfn) => {
                let page = self.mem_map.page(pfn);
                let (is, try_this) = if page.is(PageFlags::RESERVED) {
                    ("was never the allocator's", "free only what kmalloc gave")
                } else if self.is_free_frame(pfn) {
                    ("is free", "it was given back already")
                } else if page.mapping == LARGE || page.is(PageFlags::TAIL) {
                    ("lies inside a large block", "free the address that kmalloc gave")
                } else {
                    ("is a page, not an object", "what alloc_pages gave goes back with free_pages")
                };
                self.printk(format!(
                    "WARNING: CPU: {} PID: {} at mm/slab_common.c:937 free_large_kmalloc+0x58/0x80",
                    self.cpu.0, self.current.pid
                ));
                (
                    format!("object pointer: 0x{:0digits$x}", addr.0),
                    format!("{call}({addr}): frame {pfn} {is}: {try_this}"),
                )
            }
        };
        self.printk(line.clone());
        self.dump_stack(&[call]);
        self.add_taint(if pfn.is_some() { Taint::Warn } else { Taint::Die });
        Oops::new(line, advice)
    }

    /// Where `virt_to_page` would look for an address that is none of the direct map.
    fn garbage_page_struct(&self, addr: VirtAddr) -> u64 {
        let pfn = self.virt_to_phys(addr).0 >> PAGE_SHIFT;
        self.layout.vmemmap.wrapping_add(pfn.wrapping_mul(self.config.arch.page_struct_bytes()))
    }

    /// How many bytes may be used at an address (`ksize`); 0 for NULL and [`ZERO_SIZE_PTR`].
    ///
    /// In a slab the page alone is asked: an object that is free already has the size of all others.
    ///
    /// # Errors
    /// The kernel's complaint when no slab and no large kmalloc lies there.
    pub fn ksize(&mut self, addr: VirtAddr) -> Result<u64, Oops> {
        if addr.0 <= ZERO_SIZE_PTR.0 {
            return Ok(0);
        }
        if let Some(head) = self.virt_to_head(addr) {
            let page = self.mem_map.page(head);
            if page.mapping == LARGE && page.refcount > 0 && Some(addr) == self.page_address(head) {
                return Ok(u64::from(page.order().pages()) << PAGE_SHIFT);
            }
        }
        if let Some(bytes) =
            (self.caches.allocator == Allocator::Slob).then(|| self.slob_ksize(addr)).flatten()
        {
            return Ok(bytes);
        }
        match self.find_object(addr) {
            Some(object) => Ok(self.usable_bytes(object.cache)),
            None => Err(self.not_an_object("ksize", addr)),
        }
    }

    /// Bytes of an object that its owner may use (`slab_ksize`).
    fn usable_bytes(&self, id: CacheId) -> u64 {
        let cache = &self.caches.all[id];
        u64::from(if cache.flags.any(SlabFlags::RED_ZONE | SlabFlags::POISON) {
            cache.object_size
        } else if cache.flags.any(SlabFlags::TYPESAFE_BY_RCU | SlabFlags::STORE_USER) {
            cache.inuse
        } else {
            cache.size
        })
    }

    /// Makes an object larger or smaller; in place when its class has room (`krealloc`).
    ///
    /// # Errors
    /// `ENOMEM` leaves the old object as it was; the kernel's complaint when none begins there.
    pub fn krealloc(&mut self, addr: VirtAddr, size: u64, gfp: Gfp) -> Result<Result<VirtAddr, Errno>, Oops> {
        if size == 0 {
            self.kfree(addr)?;
            return Ok(Ok(ZERO_SIZE_PTR));
        }
        let old = self.ksize(addr)?;
        if size <= old && old > 0 {
            return Ok(Ok(addr));
        }
        let moved = match self.kmalloc(size, gfp) {
            Ok(moved) => moved,
            Err(errno) => return Ok(Err(errno)),
        };
        if old > 0 {
            self.copy_kernel_bytes(addr, moved, old);
            if let Err(oops) = self.kfree(addr) {
                // What the old object was is in the log; nothing is half done.
                self.kfree(moved)?;
                return Err(oops);
            }
        }
        Ok(Ok(moved))
    }

    /// Copies bytes that somebody wrote, page by page.
    fn copy_kernel_bytes(&mut self, from: VirtAddr, to: VirtAddr, bytes: u64) {
        if self.contents.is_empty() {
            return;
        }
        let mut done = 0;
        while done < bytes {
            let (source, target) = (VirtAddr(from.0 + done), VirtAddr(to.0 + done));
            let n = (bytes - done).min(PAGE_SIZE - source.offset()).min(PAGE_SIZE - target.offset());
            let (Some(a), Some(b)) = (self.virt_to_pfn(source), self.virt_to_pfn(target)) else { return };
            let mut buffer = vec![0; n as usize];
            self.read_phys(a, source.offset() as usize, &mut buffer);
            self.write_phys(b, target.offset() as usize, &buffer);
            done += n;
        }
    }
}

/// `Page::mapping` of the first page of a large kmalloc.
const LARGE: u32 = super::pages::LARGE_KMALLOC;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_are_the_kernels() {
        let class = |arch, size| INFO[kmalloc_index(arch, size)].0;
        for (size, bytes) in [(1, 8), (8, 8), (9, 16), (33, 64), (65, 96), (97, 128), (129, 192), (193, 256)]
        {
            assert_eq!(class(Arch::X86_64, size), bytes, "{size}");
        }
        assert_eq!([1, 100, 129, 192, 8192].map(|size| class(Arch::Arm64, size)), [128, 128, 256, 256, 8192]);
    }
}
