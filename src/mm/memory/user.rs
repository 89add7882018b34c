//! Loads, stores and instruction fetches of a task: bytes go where its page tables say.
//!
//! Kernel: what the processor does between two faults; `mm/memory.c` (`access_process_vm`) for the bytes.
//! Fidelity: faithful — an access that crosses a page's end is two accesses, each with its own fault.

use super::{Access, Stop};
use crate::mm::addr::{PAGE_SIZE, Pfn, VirtAddr};
use crate::mm::errno::Errno;
use crate::mm::machine::Machine;
use crate::mm::task::Pid;

impl Machine {
    /// Reads 8 bytes as a task does, little-endian.
    ///
    /// # Errors
    /// The signal the task got; `ESRCH` for a dead one.
    pub fn read_user(&mut self, pid: Pid, addr: VirtAddr) -> Result<u64, Stop> {
        let mut bytes = [0; 8];
        self.load(pid, addr, &mut bytes)?;
        Ok(u64::from_le_bytes(bytes))
    }

    /// Writes 8 bytes as a task does, little-endian.
    ///
    /// # Errors
    /// As [`Machine::read_user`].
    pub fn write_user(&mut self, pid: Pid, addr: VirtAddr, value: u64) -> Result<(), Stop> {
        self.store(pid, addr, &value.to_le_bytes())
    }

    /// Loads bytes as a task does.
    ///
    /// # Errors
    /// As [`Machine::read_user`]; the bytes before the page that refused are there.
    pub fn load(&mut self, pid: Pid, addr: VirtAddr, bytes: &mut [u8]) -> Result<(), Stop> {
        let mut done = 0;
        while done < bytes.len() {
            let (at, len) = piece(addr, done, bytes.len());
            let pfn = self.user_page(pid, at, Access::Read)?;
            let from = at.offset() as usize;
            match self.page_bytes(pfn) {
                Some(page) => bytes[done..done + len].copy_from_slice(&page[from..from + len]),
                None => bytes[done..done + len].fill(0),
            }
            done += len;
        }
        Ok(())
    }

    /// Stores bytes as a task does.
    ///
    /// # Errors
    /// As [`Machine::load`].
    pub fn store(&mut self, pid: Pid, addr: VirtAddr, bytes: &[u8]) -> Result<(), Stop> {
        let mut done = 0;
        while done < bytes.len() {
            let (at, len) = piece(addr, done, bytes.len());
            let pfn = self.user_page(pid, at, Access::Write)?;
            let from = at.offset() as usize;
            self.page_bytes_mut(pfn)[from..from + len].copy_from_slice(&bytes[done..done + len]);
            done += len;
        }
        Ok(())
    }

    /// Fetches an instruction as a task does.
    ///
    /// # Errors
    /// As [`Machine::read_user`].
    pub fn exec_user(&mut self, pid: Pid, addr: VirtAddr) -> Result<(), Stop> {
        self.user_page(pid, addr, Access::Exec).map(|_| ())
    }

    fn user_page(&mut self, pid: Pid, addr: VirtAddr, access: Access) -> Result<Pfn, Stop> {
        let mm = self.mm_of(pid)?;
        let outer = self.current.clone();
        self.become_task(pid);
        let result = self.access_page(pid, mm, addr, access);
        self.return_to(outer);
        result
    }

    /// Chooses whether a task has handlers for SIGSEGV and SIGBUS (`sigaction`): with them it survives a bad access.
    ///
    /// # Errors
    /// `ESRCH`.
    pub fn catch_faults(&mut self, pid: Pid, catch: bool) -> Result<(), Errno> {
        self.live_task(pid)?;
        if let Some(task) = self.tasks.get_mut(&pid) {
            task.catches_faults = catch;
        }
        Ok(())
    }
}

/// Where the next bytes of an access lie, and how many of them share a page.
fn piece(addr: VirtAddr, done: usize, len: usize) -> (VirtAddr, usize) {
    let at = VirtAddr(addr.0.wrapping_add(done as u64));
    (at, (len - done).min((PAGE_SIZE - at.offset()) as usize))
}
