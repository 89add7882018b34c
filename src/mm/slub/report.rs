//! Reports: what the log shows when an object was misused.
//!
//! ```text
//!   =============================================================================
//!   BUG kmalloc-64 (Not tainted): Poison overwritten
//!   -----------------------------------------------------------------------------
//!
//!   0xffff888004a3c040-0xffff888004a3c047 @offset=64. First byte 0x42 instead of 0x6b
//!   Allocated in script age=0 cpu=0 pid=24
//!   Slab 0xffffea0000128f00 objects=21 used=1 fp=0xffff888004a3c100 flags=0x…
//!   Object 0xffff888004a3c040 @offset=64 fp=0xffff888004a3c100
//!
//!   Redzone  ffff888004a3c000: bb bb bb bb bb bb bb bb                          ........
//!   Object   ffff888004a3c040: 42 00 00 00 00 00 00 00 6b 6b 6b 6b 6b 6b 6b a5  B.......kkkkkkk.
//!   …
//!   FIX kmalloc-64: Restoring Poison 0xffff888004a3c040-0xffff888004a3c047=0x6b
//! ```
//!
//! Kernel: `mm/slub.c` (`slab_bug`, `print_trailer`, `object_err`, `slab_fix`).
//! Fidelity: faithful — lines and their order. Simplified — addresses are not hashed, a task's name stands where the
//! kernel names the function that called.

use super::slabs::{END, Slab, TAKEN};
use super::{SlabNr, State};
use crate::mm::addr::{PAGE_SIZE, VirtAddr};
use crate::mm::errno::Oops;
use crate::mm::machine::{Comm, Machine};
use crate::mm::page_poison::hex_dump;
use crate::mm::panic::Taint;
use crate::mm::slab_common::{CacheId, SlabFlags};

/// Who had an object (`struct track`).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Track {
    /// The task's name.
    pub comm: Comm,
    /// Its pid; 0 for nobody yet.
    pub pid: u32,
    /// Its CPU.
    pub cpu: u16,
    /// When, in nanoseconds.
    pub when: u64,
    /// Bytes that kmalloc was asked for.
    pub requested: u32,
}

/// Nanoseconds of a jiffy at 250 Hz.
const JIFFY: u64 = 4_000_000;

impl State {
    /// Who had an object last, and who freed it.
    pub fn tracks_of(&self, object: VirtAddr) -> Option<[Track; 2]> {
        self.tracks.get(&object.0).copied()
    }
}

impl Machine {
    /// Hexadecimal digits of a pointer.
    pub(super) fn digits(&self) -> usize {
        self.config.arch.address_digits()
    }

    /// Remembers who takes an object, or gives it back (`set_track`).
    pub(super) fn set_track(&mut self, nr: SlabNr, index: u16, alloc: bool, requested: u64) {
        let object = self.object_address(nr, u32::from(index)).0;
        let track = Track {
            comm: self.current.comm,
            pid: self.current.pid,
            cpu: self.cpu.0,
            when: self.clock,
            requested: requested as u32,
        };
        self.caches.slub.tracks.entry(object).or_default()[usize::from(!alloc)] = track;
    }

    /// Nobody asks about the objects of a slab that is given back.
    pub(super) fn forget_tracks(&mut self, slab: &Slab) {
        let start = self.phys_to_virt(slab.pfn.phys()).0;
        let end = start + (PAGE_SIZE << slab.order);
        let gone: Vec<u64> = self.caches.slub.tracks.range(start..end).map(|(object, _)| *object).collect();
        for object in gone {
            self.caches.slub.tracks.remove(&object);
        }
    }

    /// The head of a report; answers its line.
    fn slab_bug(&mut self, id: CacheId, what: &str) -> String {
        let line = format!("BUG {} ({}): {what}", self.caches.all[id].name(), self.print_tainted());
        self.printk("=".repeat(77));
        self.printk(line.clone());
        self.printk("-".repeat(77));
        self.printk("");
        line
    }

    /// What was done about it.
    pub(super) fn slab_fix(&mut self, nr: SlabNr, what: &str) {
        let name = self.caches.all[self.slab(nr).cache].name();
        self.printk(format!("FIX {name}: {what}"));
    }

    /// The first free object of a slab, as a pointer.
    pub(super) fn freelist_address(&self, nr: SlabNr) -> u64 {
        let first = self.slab(nr).freelist;
        if first < END { self.object_address(nr, u32::from(first)).0 } else { 0 }
    }

    fn print_slab_info(&mut self, nr: SlabNr) {
        let (slab, width) = (self.slab(nr), self.digits());
        let (at, fp) = (self.page_struct(slab.pfn).0, self.freelist_address(nr));
        let flags = self.page_flags_text(slab.pfn);
        self.printk(format!(
            "Slab 0x{at:0width$x} objects={} used={} fp=0x{fp:0width$x} flags={flags}",
            slab.objects, slab.inuse
        ));
    }

    fn print_tracking(&mut self, object: VirtAddr) {
        let Some(tracks) = self.caches.slub.tracks_of(object) else { return };
        for (what, track) in ["Allocated", "Freed"].iter().zip(tracks).filter(|(_, track)| track.pid > 0) {
            let age = (self.clock - track.when) / JIFFY;
            self.printk(format!("{what} in {} age={age} cpu={} pid={}", track.comm, track.cpu, track.pid));
        }
    }

    fn print_section(&mut self, name: &str, start: u64, len: u32) {
        let bytes = self.kernel_bytes(VirtAddr(start), len);
        for line in hex_dump(start, &bytes) {
            self.printk(format!("{name:<9}{line}"));
        }
    }

    /// Everything about an object, and who found it (`print_trailer`).
    fn print_trailer(&mut self, nr: SlabNr, index: u16, callers: &[&str]) {
        let cache = &self.caches.all[self.slab(nr).cache];
        let (flags, pad, size, inuse) = (cache.flags, cache.red_left_pad, cache.object_size, cache.inuse);
        let (end, whole) = (self.info_end(cache), cache.size - pad);
        let (object, base) = (self.object_address(nr, u32::from(index)), self.slab_base(nr).0);
        let next = self.links(nr).next(u32::from(index));
        let fp = if next < END { self.object_address(nr, u32::from(next)).0 } else { 0 };
        let width = self.digits();
        self.print_tracking(object);
        self.print_slab_info(nr);
        let at = object.0;
        self.printk(format!("Object 0x{at:0width$x} @offset={} fp=0x{fp:0width$x}", at - base));
        self.printk("");
        if flags.has(SlabFlags::RED_ZONE) {
            self.print_section("Redzone", at - u64::from(pad), pad);
        } else if at > base + 16 {
            self.print_section("Bytes b4", at - 16, 16);
        }
        self.print_section("Object", at, size.min(PAGE_SIZE as u32));
        if flags.has(SlabFlags::RED_ZONE) {
            self.print_section("Redzone", at + u64::from(size), inuse - size);
        }
        if end < whole {
            self.print_section("Padding", at + u64::from(end), whole - end);
        }
        let frames: Vec<&str> = std::iter::once("print_trailer").chain(callers.iter().copied()).collect();
        self.dump_stack(&frames);
    }

    /// An object with something wrong about it, found by `caller` (`object_err`).
    pub(super) fn object_err(&mut self, nr: SlabNr, index: u16, reason: &str, caller: &str) -> Oops {
        let line = self.slab_bug(self.slab(nr).cache, reason);
        self.print_trailer(nr, index, &["object_err", caller]);
        self.add_taint(Taint::BadPage);
        let object = self.object_address(nr, u32::from(index));
        Oops::new(line, format!("object {object}; log shows its bytes"))
    }

    /// A slab with something wrong about it, found by `caller` (`slab_err`).
    fn slab_err(&mut self, nr: SlabNr, what: &str, caller: &str) -> String {
        let line = self.slab_bug(self.slab(nr).cache, what);
        self.print_slab_info(nr);
        self.dump_stack(&["slab_err", caller]);
        self.add_taint(Taint::BadPage);
        line
    }

    /// Bytes that somebody wrote who should not have (`check_bytes_and_report`).
    pub(super) fn report_bytes(
        &mut self,
        nr: SlabNr,
        index: u16,
        what: &str,
        (from, to): (u64, u64),
        found: u8,
        value: u8,
    ) -> Oops {
        let line = self.slab_bug(self.slab(nr).cache, &format!("{what} overwritten"));
        let (base, width) = (self.slab_base(nr).0, self.digits());
        self.printk(format!(
            "0x{from:0width$x}-0x{to:0width$x} @offset={}. First byte 0x{found:x} instead of 0x{value:x}",
            from - base
        ));
        self.print_trailer(nr, index, &["check_bytes_and_report", "check_object"]);
        self.add_taint(Taint::BadPage);
        let object = self.object_address(nr, u32::from(index));
        let offset = from as i64 - object.0 as i64;
        let cause = match what {
            "Poison" => "it was written after it was freed",
            "Left Redzone" => "somebody wrote before it",
            _ => "somebody wrote beyond its end",
        };
        Oops::new(
            line,
            format!(
                "object {object}: {} bytes at offset {offset} changed: {cause}; log shows them",
                to - from + 1
            ),
        )
    }

    /// The object is free already; nothing is done.
    #[cold]
    pub(super) fn free_twice(&mut self, nr: SlabNr, index: u16) -> Oops {
        let oops = self.object_err(nr, index, "Object already free", "free_debug_processing");
        let (object, width) = (self.object_address(nr, u32::from(index)), self.digits());
        self.slab_fix(nr, &format!("Object at 0x{:0width$x} not freed", object.0));
        let advice = format!("{object} is on the free list already: it was freed once too often");
        Oops::new(oops.line.clone(), advice)
    }

    /// No object begins there; nothing is done.
    #[cold]
    pub(super) fn invalid_pointer(&mut self, nr: SlabNr, addr: VirtAddr) -> Oops {
        let width = self.digits();
        let what = format!("Invalid object pointer 0x{:0width$x}", addr.0);
        let line = self.slab_err(nr, &what, "free_debug_processing");
        self.slab_fix(nr, &format!("Object at 0x{:0width$x} not freed", addr.0));
        let object = self.slub_find_object(addr).map(|object| object.start);
        let advice = match object.filter(|start| start.0 <= addr.0) {
            Some(start) => {
                format!("{addr} lies {} bytes behind the start of object {start}", addr.0 - start.0)
            }
            None => format!("{addr} lies in no object of the slab"),
        };
        Oops::new(line, advice)
    }

    /// The object is of another cache; nothing is done (`cache_from_obj`).
    #[cold]
    pub(super) fn wrong_cache(&mut self, asked: CacheId, nr: SlabNr, addr: VirtAddr) -> Oops {
        let (asked, owner) = (self.caches.all[asked].name(), self.caches.all[self.slab(nr).cache].name());
        let line = format!("cache_from_obj: Wrong slab cache. {asked} but object is from {owner}");
        let advice = format!("{addr} goes back to {owner}: it stays in use");
        self.printk(format!(
            "WARNING: CPU: {} PID: {} at mm/slab.h:633 kmem_cache_free+0x2f8/0x400",
            self.cpu.0, self.current.pid
        ));
        self.printk(line.clone());
        self.dump_stack(&["kmem_cache_free"]);
        self.add_taint(Taint::Warn);
        Oops::new(line, advice)
    }

    /// The CPU's free list leads nowhere: what hung on it is lost (`freelist_corrupted`).
    #[cold]
    pub(super) fn freelist_corrupted(&mut self, id: CacheId, cpu: usize) {
        let Some(nr) = self.kmem_cache_cpu(id, cpu).slab.some() else { return };
        self.slab_err(nr, "Freechain corrupt", "___slab_alloc");
        self.slab_fix(nr, "Isolate corrupted freechain");
        self.kmem_cache_cpu_mut(id, cpu).freelist = END;
        self.lose_unlisted(nr);
        // A CPU's own list counts as in use.
        let slab = self.slab_mut(nr);
        debug_assert!(slab.inuse <= slab.objects);
    }

    /// Objects that are left in a cache that is destroyed (`list_slab_objects`).
    pub(super) fn list_slab_objects(&mut self, nr: SlabNr) {
        let (id, width) = (self.slab(nr).cache, self.digits());
        let name = self.caches.all[id].name().to_string();
        let what = format!("Objects remaining in {name} on __kmem_cache_shutdown()");
        self.slab_err(nr, &what, "__kmem_cache_shutdown");
        for index in (0..self.slab(nr).objects)
            .filter(|n| self.links(nr).next(u32::from(*n)) == TAKEN)
            .collect::<Vec<_>>()
        {
            let object = self.object_address(nr, u32::from(index));
            let offset = object.0 - self.slab_base(nr).0;
            self.printk(format!("Object 0x{:0width$x} @offset={offset}", object.0));
            self.print_tracking(object);
        }
    }
}
