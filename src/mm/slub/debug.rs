//! Red zones, poison, and the checks of objects that have them.
//!
//! ```text
//!   bb bb bb bb bb bb bb bb   6b 6b 6b … 6b 6b a5   bb bb bb bb bb bb bb bb   5a 5a 5a …
//!   left red zone             object, free          right red zone            padding
//!   cc while in use                                 cc while in use
//! ```
//!
//! Gorman 8.2.5 (the same idea in SLAB). Kernel: `mm/slub.c` (`check_object`, `init_object`, `free_consistency_checks`,
//! `parse_slub_debug_flags`), `include/linux/poison.h`.
//! Fidelity: faithful — bytes, order of checks, repairs. Simplified — a cache created with red zones or poison is
//! checked without `slub_debug=F`.

use super::slabs::{END, TAKEN, WILD};
use super::{Place, SlabNr};
use crate::mm::addr::{PAGE_SIZE, VirtAddr};
use crate::mm::errno::Oops;
use crate::mm::machine::Machine;
use crate::mm::slab_common::{CacheId, SlabFlags};

/// A red zone of a free object.
const RED_INACTIVE: u8 = 0xbb;
/// A red zone of an object in use.
const RED_ACTIVE: u8 = 0xcc;
/// Metadata that nobody wrote yet.
const POISON_INUSE: u8 = 0x5a;
/// A free object.
const POISON_FREE: u8 = 0x6b;
/// Its last byte.
const POISON_END: u8 = 0xa5;

/// The flags that `slub_debug` on the command line gives a cache: `=FZ`, `=P,kmalloc-64`, or nothing for all of them.
pub(super) fn slub_debug_flags(option: &str, name: &str) -> SlabFlags {
    const USUAL: SlabFlags = SlabFlags(
        SlabFlags::CONSISTENCY_CHECKS.0
            | SlabFlags::RED_ZONE.0
            | SlabFlags::POISON.0
            | SlabFlags::STORE_USER.0,
    );
    let option = option.strip_prefix('=').unwrap_or(option);
    let mut flags = SlabFlags::NONE;
    for block in option.split(';') {
        let (letters, names) = block.split_once(',').unwrap_or((block, ""));
        let globs = |pattern: &str| match pattern.strip_suffix('*') {
            Some(start) => name.starts_with(start),
            None => pattern == name,
        };
        if !names.is_empty() && !names.split(',').any(globs) {
            continue;
        }
        flags = flags | if letters.is_empty() { USUAL } else { SlabFlags::NONE };
        for letter in letters.chars() {
            flags = flags
                | match letter.to_ascii_uppercase() {
                    'F' => SlabFlags::CONSISTENCY_CHECKS,
                    'Z' => SlabFlags::RED_ZONE,
                    'P' => SlabFlags::POISON,
                    'U' => SlabFlags::STORE_USER,
                    'T' => SlabFlags::TRACE,
                    _ => SlabFlags::NONE,
                };
        }
    }
    flags
}

impl Machine {
    /// Bytes at a kernel address.
    pub(crate) fn kernel_bytes(&self, addr: VirtAddr, len: u32) -> Vec<u8> {
        let mut bytes = vec![0; len as usize];
        let mut done = 0u64;
        while done < u64::from(len) {
            let at = VirtAddr(addr.0 + done);
            let n = (u64::from(len) - done).min(PAGE_SIZE - at.offset());
            let Some(pfn) = self.virt_to_pfn(at) else { break };
            self.read_phys(pfn, at.offset() as usize, &mut bytes[done as usize..(done + n) as usize]);
            done += n;
        }
        bytes
    }

    /// Writes bytes at a kernel address, whoever has them: nothing stops the kernel.
    pub fn kernel_write(&mut self, addr: VirtAddr, bytes: &[u8]) {
        let mut done = 0;
        while done < bytes.len() {
            let at = VirtAddr(addr.0 + done as u64);
            let n = (bytes.len() - done).min((PAGE_SIZE - at.offset()) as usize);
            let Some(pfn) = self.virt_to_pfn(at) else { return };
            self.write_phys(pfn, at.offset() as usize, &bytes[done..done + n]);
            done += n;
        }
        self.slab_written(addr, bytes.len() as u64);
    }

    /// Bytes at a kernel address as a reader sees them: the pointers between free objects, too.
    pub fn kernel_read(&self, addr: VirtAddr, len: u32) -> Vec<u8> {
        let mut bytes = self.kernel_bytes(addr, len);
        self.overlay_free_pointers(addr, &mut bytes);
        bytes
    }

    /// Fills bytes at a kernel address.
    pub(super) fn fill_bytes(&mut self, addr: VirtAddr, len: u32, byte: u8) {
        let mut done = 0u64;
        while done < u64::from(len) {
            let at = VirtAddr(addr.0 + done);
            let n = (u64::from(len) - done).min(PAGE_SIZE - at.offset());
            let Some(pfn) = self.virt_to_pfn(at) else { return };
            let from = at.offset() as usize;
            if byte != 0 || self.contents.get(pfn).is_some() {
                self.contents.get_mut(pfn)[from..from + n as usize].fill(byte);
            }
            done += n;
        }
    }

    /// Fills an object with a byte; zeros are written only where somebody wrote before.
    pub(super) fn fill_object(&mut self, addr: VirtAddr, len: u32, byte: u8) {
        self.fill_bytes(addr, len, byte);
    }

    /// A new slab of a cache that is checked (`setup_slab_debug`, `setup_object_debug`).
    pub(super) fn setup_slab_debug(&mut self, nr: SlabNr) {
        let (id, objects) = (self.slab(nr).cache, self.slab(nr).objects);
        if self.caches.all[id].flags.has(SlabFlags::POISON) {
            let bytes = PAGE_SIZE << self.slab(nr).order;
            self.fill_bytes(self.slab_base(nr), bytes as u32, POISON_INUSE);
        }
        for index in 0..objects {
            self.init_object(nr, index, RED_INACTIVE);
        }
    }

    /// Fills an object's red zones and the object (`init_object`).
    fn init_object(&mut self, nr: SlabNr, index: u16, red: u8) {
        let cache = &self.caches.all[self.slab(nr).cache];
        let (flags, pad, size, inuse) = (cache.flags, cache.red_left_pad, cache.object_size, cache.inuse);
        let object = self.object_address(nr, u32::from(index));
        if flags.has(SlabFlags::RED_ZONE) {
            self.fill_bytes(VirtAddr(object.0 - u64::from(pad)), pad, red);
        }
        if flags.has(SlabFlags::OBJECT_POISON) {
            self.fill_bytes(object, size - 1, POISON_FREE);
            self.fill_bytes(VirtAddr(object.0 + u64::from(size) - 1), 1, POISON_END);
        }
        if flags.has(SlabFlags::RED_ZONE) {
            self.fill_bytes(VirtAddr(object.0 + u64::from(size)), inuse - size, red);
        }
    }

    /// An object is about to be given out: is it as it was left? (`alloc_debug_processing`)
    ///
    /// If not, the slab is never used again: all of its objects count as in use.
    pub(super) fn alloc_debug_processing(&mut self, nr: SlabNr, index: u16, requested: u64) -> bool {
        let flags = self.caches.all[self.slab(nr).cache].flags;
        if flags.has(SlabFlags::CONSISTENCY_CHECKS) && self.check_object(nr, index, RED_INACTIVE).is_err() {
            self.slab_fix(nr, "Marking all objects used");
            if self.slab(nr).place == Place::Partial {
                self.remove_partial(nr);
            }
            self.slab_mut(nr).freelist = END;
            self.lose_unlisted(nr);
            return false;
        }
        if flags.has(SlabFlags::TRACE) {
            self.trace_line(nr, index, "alloc");
        }
        self.init_object(nr, index, RED_ACTIVE);
        if flags.has(SlabFlags::STORE_USER) {
            self.set_track(nr, index, true, requested);
        }
        true
    }

    /// An object comes back: was it used as it should be? (`free_debug_processing`)
    pub(super) fn free_debug_processing(&mut self, nr: SlabNr, index: u16) -> Result<(), Oops> {
        let flags = self.caches.all[self.slab(nr).cache].flags;
        if flags.has(SlabFlags::CONSISTENCY_CHECKS)
            && let Err(oops) = self.check_object(nr, index, RED_ACTIVE)
        {
            let object = self.object_address(nr, u32::from(index));
            let text = format!("Object at 0x{:0width$x} not freed", object.0, width = self.digits());
            self.slab_fix(nr, &text);
            return Err(oops);
        }
        if flags.has(SlabFlags::STORE_USER) {
            self.set_track(nr, index, false, 0);
        }
        if flags.has(SlabFlags::TRACE) {
            self.trace_line(nr, index, "free");
        }
        self.init_object(nr, index, RED_INACTIVE);
        Ok(())
    }

    fn trace_line(&mut self, nr: SlabNr, index: u16, what: &str) {
        let (object, width) = (self.object_address(nr, u32::from(index)), self.digits());
        let slab = self.slab(nr);
        let name = self.caches.all[slab.cache].name();
        let (inuse, fp) = (slab.inuse, self.freelist_address(nr));
        self.printk(format!("TRACE {name} {what} 0x{:0width$x} inuse={inuse} fp=0x{fp:0width$x}", object.0));
    }

    /// Is every byte of an object that nobody may write as it was? (`check_object`)
    fn check_object(&mut self, nr: SlabNr, index: u16, red: u8) -> Result<(), Oops> {
        let cache = &self.caches.all[self.slab(nr).cache];
        let flags = cache.flags;
        let (pad, size, inuse) = (cache.red_left_pad, cache.object_size, cache.inuse);
        let end = self.info_end(cache);
        let padded = cache.size - pad;
        let object = self.object_address(nr, u32::from(index)).0;
        let behind = object + u64::from(size);
        let mut areas: Vec<(&str, u64, u32, u8)> = Vec::new();
        if flags.has(SlabFlags::RED_ZONE) {
            areas.push(("Left Redzone", object - u64::from(pad), pad, red));
            areas.push(("Right Redzone", behind, inuse - size, red));
        } else if flags.has(SlabFlags::POISON) && size < inuse {
            areas.push(("Alignment padding", behind, inuse - size, POISON_INUSE));
        }
        if flags.has(SlabFlags::POISON) {
            if red != RED_ACTIVE && flags.has(SlabFlags::OBJECT_POISON) {
                areas.push(("Poison", object, size - 1, POISON_FREE));
                areas.push(("Poison", behind - 1, 1, POISON_END));
            }
            areas.push(("Object padding", object + u64::from(end), padded.saturating_sub(end), POISON_INUSE));
        }
        for (what, start, len, byte) in areas {
            self.check_bytes_and_report(nr, index, what, VirtAddr(start), len, byte)?;
        }
        if red != RED_ACTIVE && self.links(nr).next(u32::from(index)) == WILD {
            self.set_link(nr, index, TAKEN);
            return Err(self.object_err(nr, index, "Freepointer corrupt", "check_object"));
        }
        Ok(())
    }

    fn check_bytes_and_report(
        &mut self,
        nr: SlabNr,
        index: u16,
        what: &str,
        start: VirtAddr,
        len: u32,
        value: u8,
    ) -> Result<(), Oops> {
        let bytes = self.kernel_bytes(start, len);
        let Some(first) = bytes.iter().position(|byte| *byte != value) else { return Ok(()) };
        let last = bytes.iter().rposition(|byte| *byte != value).unwrap_or(first);
        let (from, to) = (start.0 + first as u64, start.0 + last as u64);
        let oops = self.report_bytes(nr, index, what, (from, to), bytes[first], value);
        // restore_bytes: the next look finds it in order.
        self.fill_bytes(VirtAddr(from), (to - from + 1) as u32, value);
        let width = self.digits();
        self.slab_fix(nr, &format!("Restoring {what} 0x{from:0width$x}-0x{to:0width$x}=0x{value:x}"));
        Err(oops)
    }

    /// Looks at every object of a cache (`validate_slab_cache`); says how many complaints went to the log.
    pub fn validate_slab_cache(&mut self, id: CacheId) -> u32 {
        let mut found = 0;
        let debug = self.caches.all[id].is_debug();
        let slabs: Vec<SlabNr> = self.slabs_of(id).filter(|_| debug).collect();
        for nr in slabs {
            for index in 0..self.slab(nr).objects {
                let red =
                    if self.links(nr).next(u32::from(index)) == TAKEN { RED_ACTIVE } else { RED_INACTIVE };
                found += u32::from(self.check_object(nr, index, red).is_err());
            }
        }
        found
    }

    /// What a reader of a free object sees where the pointer to the next one lies: laid over the bytes of the page.
    fn overlay_free_pointers(&self, addr: VirtAddr, bytes: &mut [u8]) {
        let Some((nr, index, at)) = self.free_pointer_near(addr, bytes.len() as u64) else { return };
        let next = self.links(nr).next(u32::from(index));
        if next == WILD {
            return;
        }
        let pointer = if next < END { self.object_address(nr, u32::from(next)).0 } else { 0 };
        let word = self.config.arch.pointer_bytes() as usize;
        for (n, byte) in pointer.to_le_bytes().iter().take(word).enumerate() {
            let place = (at + n as u64).wrapping_sub(addr.0);
            if let Some(shown) = bytes.get_mut(place as usize) {
                *shown = *byte;
            }
        }
    }

    /// Somebody wrote into a slab: a pointer between free objects may lead elsewhere now.
    fn slab_written(&mut self, addr: VirtAddr, len: u64) {
        let Some((nr, index, at)) = self.free_pointer_near(addr, len) else { return };
        let word = self.config.arch.pointer_bytes();
        let mut pointer = [0; 8];
        pointer[..word as usize].copy_from_slice(&self.kernel_bytes(VirtAddr(at), word));
        let pointer = u64::from_le_bytes(pointer);
        let base = self.object_address(nr, 0).0;
        let size = u64::from(self.caches.all[self.slab(nr).cache].size);
        let target =
            pointer.checked_sub(base).filter(|offset| offset % size == 0).map(|offset| offset / size);
        let next = match target {
            _ if pointer == 0 => END,
            Some(n) if n < u64::from(self.slab(nr).objects) => n as u16,
            _ => WILD,
        };
        if next != self.links(nr).next(u32::from(index)) {
            self.set_link(nr, index, next);
            self.caches.slub.scribbled = true;
        }
    }

    /// The free object whose pointer shares a byte with this range: slab, index, where the pointer lies.
    fn free_pointer_near(&self, addr: VirtAddr, len: u64) -> Option<(SlabNr, u16, u64)> {
        [addr.0, addr.0 + len - 1].into_iter().find_map(|at| {
            let nr = self.slab_of(VirtAddr(at))?;
            let cache = &self.caches.all[self.slab(nr).cache];
            let index = u16::try_from((at - self.slab_base(nr).0) / u64::from(cache.size)).ok()?;
            let free = index < self.slab(nr).objects && self.links(nr).next(u32::from(index)) != TAKEN;
            let at = self.object_address(nr, u32::from(index)).0 + u64::from(cache.offset);
            let word = u64::from(self.config.arch.pointer_bytes());
            (free && at < addr.0 + len && addr.0 < at + word).then_some((nr, index, at))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slub_debug_names_flags_and_caches() {
        let flags = |option, name| slub_debug_flags(option, name).to_string();
        assert_eq!(flags("=FZ", "dentry"), "SLAB_CONSISTENCY_CHECKS|SLAB_RED_ZONE");
        assert_eq!(flags("=P,kmalloc-*", "kmalloc-64"), "SLAB_POISON");
        assert_eq!(flags("=P,kmalloc-*", "dentry"), "0");
        assert_eq!(flags("=F,dentry;Z,pid", "pid"), "SLAB_RED_ZONE");
        assert!(slub_debug_flags("", "any").has(SlabFlags::POISON | SlabFlags::STORE_USER));
    }
}
