//! Taint: what happened to this kernel that makes its later reports doubtful.
//!
//! ```text
//!   bit 5   B   a page or a slab was found damaged            BUG kmalloc-64 (Not tainted): Poison overwritten
//!   bit 7   D   the kernel died in one place, and went on     …
//!   bit 9   W   a WARN was said                               BUG kmalloc-64 (Tainted: G    B             ): …
//! ```
//!
//! A report shows what was there before it: whoever reads the second must look for the first. A letter has its own column.
//!
//! Kernel: `kernel/panic.c` (`add_taint`, `print_tainted`), `lib/dump_stack.c` (`dump_stack_print_info`).
//! Fidelity: faithful — bits, letters, columns of 6.1, when each report adds its bit. Absent — what modules, firmware and
//! other parts of the kernel add: those bits come by /proc/sys/kernel/tainted alone; `panic_on_taint`.

use crate::mm::machine::{Comm, Machine};

macro_rules! taints {
    ($($name:ident $letter:literal $clear:literal $doc:literal;)*) => {
        /// A reason to doubt; its bit in the mask is its place.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub enum Taint {
            $(#[doc = $doc] $name,)*
        }

        /// What each bit shows when it is set, and when it is not.
        const LETTERS: &[(char, char)] = &[$(($letter, $clear),)*];
    };
}

taints! {
    ProprietaryModule 'P' 'G' "A module under another licence was loaded; G says that there was none.";
    ForcedModule 'F' ' ' "A module was loaded by force.";
    CpuOutOfSpec 'S' ' ' "The processor is used outside of what it is made for.";
    ForcedRmmod 'R' ' ' "A module was unloaded by force.";
    MachineCheck 'M' ' ' "The hardware reported an error.";
    BadPage 'B' ' ' "A page or a slab was found damaged.";
    User 'U' ' ' "User space asked for it.";
    Die 'D' ' ' "The kernel died in one place: an oops, or a BUG.";
    OverriddenAcpiTable 'A' ' ' "A table of the firmware was replaced.";
    Warn 'W' ' ' "A WARN was said.";
    Crap 'C' ' ' "A driver of the staging tree was loaded.";
    FirmwareWorkaround 'I' ' ' "Firmware has a bug that was worked around.";
    OotModule 'O' ' ' "A module from outside of the kernel's tree was loaded.";
    UnsignedModule 'E' ' ' "A module without signature was loaded.";
    SoftLockup 'L' ' ' "A CPU did not schedule for too long.";
    LivePatch 'K' ' ' "The kernel was patched while it ran.";
    Aux 'X' ' ' "A distribution has its own reason.";
    RandStruct 'T' ' ' "Structures are laid out at random.";
    Test 'N' ' ' "A test of the kernel ran.";
}

/// Every bit there is.
const KNOWN: u64 = (1 << LETTERS.len()) - 1;

impl Machine {
    /// From the next report on the kernel counts as tainted so (`add_taint`).
    #[cold]
    pub fn add_taint(&mut self, taint: Taint) {
        self.tainted |= 1 << taint as u32;
    }

    /// Adds bits, as root does by /proc/sys/kernel/tainted; none is ever taken away (`proc_taint`).
    pub(crate) fn add_taints(&mut self, mask: u64) {
        self.tainted |= mask & KNOWN;
    }

    /// What reports show: `Not tainted`, or a column for each bit (`print_tainted`).
    pub fn print_tainted(&self) -> String {
        if self.tainted == 0 {
            return "Not tainted".into();
        }
        let column = |(bit, (set, clear)): (usize, &(char, char))| {
            if self.tainted & 1 << bit != 0 { *set } else { *clear }
        };
        let columns: String = LETTERS.iter().enumerate().map(column).collect();
        format!("Tainted: {columns}")
    }

    /// The kernel stops where it stands (`BUG_ON`): the line in the log, the oops behind it.
    #[cold]
    pub(crate) fn kernel_bug(&mut self, line: &str) {
        self.printk("------------[ cut here ]------------");
        self.printk(line);
        self.add_taint(Taint::Die);
    }

    /// Who runs, on which kernel (`dump_stack_print_info`).
    pub(crate) fn dump_stack_print_info(&self, pid: u32, comm: Comm) -> String {
        let (cpu, taint, kernel) = (self.cpu.0, self.print_tainted(), &self.config.kernel);
        format!("CPU: {cpu} PID: {pid} Comm: {comm} {taint} {kernel}.0-vmlab #1")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_are_the_kernels() {
        let bits = [Taint::BadPage, Taint::Die, Taint::Warn, Taint::OotModule, Taint::Test];
        assert_eq!(bits.map(|taint| taint as u32), [5, 7, 9, 12, 18]);
        assert_eq!((LETTERS.len(), KNOWN), (19, 0x7_ffff));
    }
}
