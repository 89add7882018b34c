//! fadvise: what a task says about its use of a file.
//!
//! Gorman 10. Kernel: `mm/fadvise.c`.
//! Fidelity: simplified — WILLNEED reads, DONTNEED writes what is dirty and drops what is clean and not mapped; the advice
//! about order is for readahead, which is not simulated yet.

use crate::mm::addr::{PAGE_SHIFT, PAGE_SIZE};
use crate::mm::errno::Errno;
use crate::mm::fs::FileId;
use crate::mm::machine::Machine;

/// `POSIX_FADV_*`.
pub mod fadv {
    #![allow(missing_docs)]
    pub const NORMAL: u64 = 0;
    pub const RANDOM: u64 = 1;
    pub const SEQUENTIAL: u64 = 2;
    pub const WILLNEED: u64 = 3;
    pub const DONTNEED: u64 = 4;
    pub const NOREUSE: u64 = 5;
}

impl Machine {
    /// Takes advice about a range of a file; a length of 0 reaches to its end (`posix_fadvise`).
    ///
    /// # Errors
    /// `EINVAL` for advice that is none; `ENOMEM` when the file cannot be opened.
    pub fn fadvise(&mut self, file: FileId, off: u64, len: u64, advice: u64) -> Result<(), Errno> {
        self.with_file(file, |machine| machine.generic_fadvise(file, off, len, advice))
    }

    fn generic_fadvise(&mut self, file: FileId, off: u64, len: u64, advice: u64) -> Result<(), Errno> {
        let end = if len == 0 { u64::MAX } else { off.saturating_add(len) };
        match advice {
            fadv::NORMAL | fadv::RANDOM | fadv::SEQUENTIAL | fadv::NOREUSE => {}
            fadv::WILLNEED => {
                let last = end.min(self.files[file].size).div_ceil(PAGE_SIZE);
                for index in off >> PAGE_SHIFT..last {
                    // Advice is not an order: without memory it is forgotten.
                    let Ok((pfn, _)) = self.get_file_page(file, index as u32) else { break };
                    self.put_lru_page(pfn);
                }
            }
            fadv::DONTNEED => {
                // Only whole pages: the first and the last may be half somebody else's.
                let first = off.div_ceil(PAGE_SIZE);
                let reaches_end = end >= self.files[file].size;
                let last =
                    if reaches_end { u64::from(u32::MAX) } else { (end >> PAGE_SHIFT).saturating_sub(1) };
                if first <= last {
                    let (first, last) = (first as u32, last.min(u64::from(u32::MAX)) as u32);
                    self.start_writeback(file, first, last);
                    self.invalidate_mapping_pages(file, first, last);
                }
            }
            _ => return Err(Errno::EINVAL),
        }
        Ok(())
    }
}
