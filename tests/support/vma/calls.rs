//! Steps that are system calls of the process, and its accesses.

use super::words::{flags, integer, number, protection};
use super::{Player, files};
use vmlab::mm::addr::{PAGE_SIZE, VirtAddr};
use vmlab::mm::errno::{Errno, Signal};
use vmlab::mm::madvise::madv;
use vmlab::mm::memory::Stop;
use vmlab::mm::mlock::mcl;
use vmlab::mm::mmap::map;
use vmlab::mm::mremap::remap;
use vmlab::mm::sys::rlimit;

const MAP: [(&str, u64); 14] = [
    ("private", map::PRIVATE),
    ("shared", map::SHARED),
    ("anon", map::ANONYMOUS),
    ("fixed", map::FIXED),
    ("noreplace", map::FIXED_NOREPLACE),
    ("growsdown", map::GROWSDOWN),
    ("noreserve", map::NORESERVE),
    ("populate", map::POPULATE),
    ("locked", map::LOCKED),
    ("stack", map::STACK),
    ("nonblock", map::NONBLOCK),
    ("shared_validate", map::SHARED_VALIDATE),
    ("hugetlb", map::HUGETLB),
    ("0", 0),
];

const REMAP: [(&str, u64); 4] =
    [("0", 0), ("maymove", remap::MAYMOVE), ("fixed", remap::FIXED), ("dontunmap", remap::DONTUNMAP)];

const ADVICE: [(&str, u64); 22] = [
    ("normal", madv::NORMAL),
    ("random", madv::RANDOM),
    ("sequential", madv::SEQUENTIAL),
    ("willneed", madv::WILLNEED),
    ("dontneed", madv::DONTNEED),
    ("free", madv::FREE),
    ("remove", madv::REMOVE),
    ("dontfork", madv::DONTFORK),
    ("dofork", madv::DOFORK),
    ("mergeable", madv::MERGEABLE),
    ("unmergeable", madv::UNMERGEABLE),
    ("hugepage", madv::HUGEPAGE),
    ("nohugepage", madv::NOHUGEPAGE),
    ("dontdump", madv::DONTDUMP),
    ("dodump", madv::DODUMP),
    ("wipeonfork", madv::WIPEONFORK),
    ("keeponfork", madv::KEEPONFORK),
    ("cold", madv::COLD),
    ("pageout", madv::PAGEOUT),
    ("populate_read", madv::POPULATE_READ),
    ("populate_write", madv::POPULATE_WRITE),
    ("bad", 77),
];

const MLOCKALL: [(&str, u64); 4] =
    [("0", 0), ("current", mcl::CURRENT), ("future", mcl::FUTURE), ("onfault", mcl::ONFAULT)];

const RLIMITS: [(&str, u64); 4] =
    [("as", rlimit::AS), ("data", rlimit::DATA), ("stack", rlimit::STACK), ("memlock", rlimit::MEMLOCK)];

/// What a step `mmap` asks for.
#[derive(Clone, Copy)]
pub struct Mmap {
    /// The hint.
    pub addr: VirtAddr,
    /// Bytes.
    pub len: u64,
    /// `PROT_*`.
    pub prot: u64,
    /// `MAP_*`.
    pub flags: u64,
    /// Bytes into the file.
    pub offset: u64,
}

pub fn step(player: &mut Player, words: &[&str]) -> bool {
    let word = |at: usize| words.get(at).copied().unwrap_or("0");
    let pid = player.me.pid;
    match word(0) {
        "mmap" => {
            let call = Mmap {
                addr: VirtAddr(player.address(word(2))),
                len: number(word(3)),
                prot: protection(word(4)),
                flags: flags(&MAP, word(5)),
                offset: number(word(7)),
            };
            let result = player.mmap(word(6), call);
            player.answer_address(word(1), result);
            player.show_areas(false);
        }
        "munmap" => {
            let (addr, len) = (VirtAddr(player.address(word(1))), number(word(2)));
            let result = player.machine.munmap(pid, addr, len);
            player.answered(result);
        }
        "mprotect" => {
            let (addr, len) = (VirtAddr(player.address(word(1))), number(word(2)));
            let result = player.machine.mprotect(pid, addr, len, protection(word(3)));
            player.answered(result);
        }
        "mremap" => {
            let (addr, old_len, new_len) = (player.address(word(2)), number(word(3)), number(word(4)));
            let (flags, to) = (flags(&REMAP, word(5)), player.address(word(6)));
            let result = player.machine.mremap(pid, VirtAddr(addr), old_len, new_len, flags, VirtAddr(to));
            player.answer_address(word(1), result);
            player.show_areas(false);
        }
        "madvise" => {
            let (addr, len) = (VirtAddr(player.address(word(1))), number(word(2)));
            let result = player.machine.madvise(pid, addr, len, flags(&ADVICE, word(3)));
            player.answered(result);
        }
        "mlock" | "mlock2" | "munlock" => {
            let (addr, len) = (VirtAddr(player.address(word(1))), number(word(2)));
            let result = match word(0) {
                "mlock" => player.machine.mlock(pid, addr, len),
                "mlock2" => player.machine.mlock2(pid, addr, len, mcl::MLOCK_ONFAULT),
                _ => player.machine.munlock(pid, addr, len),
            };
            player.answered(result);
        }
        "mlockall" => {
            let result = player.machine.mlockall(pid, flags(&MLOCKALL, word(1)));
            player.answered(result);
        }
        "munlockall" => {
            let result = player.machine.munlockall(pid);
            player.answered(result);
        }
        "rlimit" => {
            let present = match word(1) {
                "as" => player.status_pages("VmSize") * PAGE_SIZE,
                "data" => player.status_pages("VmData") * PAGE_SIZE,
                _ => 0,
            };
            let limit = match word(2) {
                "unlimited" => rlimit::INFINITY,
                more => present + number(more),
            };
            let result = player.machine.setrlimit(pid, flags(&RLIMITS, word(1)), limit);
            player.answer(result.map(|()| 0));
        }
        "setuid" => {
            let result = player.machine.setuid(pid, integer(word(1)) as u32);
            player.answer(result.map(|()| 0));
        }
        "brk" => {
            let wanted = match word(1).strip_prefix('-') {
                Some(less) => player.brk.wrapping_sub(number(less)),
                None => player.brk.wrapping_add(number(word(1))),
            };
            let now = player.machine.brk(pid, VirtAddr(wanted)).expect("the process lives");
            let shown = player.relative(now.0);
            player.say(&format!("= {shown}"));
            player.show_areas(false);
        }
        "read" | "write" | "call" => player.access(word(0), word(1), integer(word(2)) as u8),
        "touch" => player.touch(word(1) == "w", word(2), integer(word(3))),
        "fork" => match player.machine.fork(pid) {
            Err(errno) => player.answer(Err(errno)),
            Ok(pid) => {
                let mut child = player.me.clone();
                child.pid = pid;
                let parent = std::mem::replace(&mut player.me, child);
                player.me.shown = player.list();
                let child = std::mem::replace(&mut player.me, parent);
                player.children.insert(word(1).to_string(), child);
                player.say("= ok");
            }
        },
        "exit" => player.machine.exit_task(pid, 0).expect("the process lives"),
        "wait" => {
            player.children.remove(word(1));
            player.say("= ok");
        }
        "stripes" => {
            let (addr, most) = (player.address(word(1)), integer(word(2)));
            let mut stripe = |n: u64| {
                let at = VirtAddr(addr + 2 * n * PAGE_SIZE);
                player.machine.mprotect(pid, at, PAGE_SIZE, protection("r")).err()
            };
            let stopped = (0..most).find_map(|n| Some((n, stripe(n)?)));
            let (done, why) =
                stopped.map_or((most, String::new()), |(n, e)| (n, format!(" then {}", e.name())));
            player.say(&format!("= {done} of {most}{why}"));
        }
        "mapmany" => {
            let most = integer(word(1));
            let mut one = |n: u64| {
                let at = VirtAddr(super::BASE + 2 * n * PAGE_SIZE);
                let flags = map::PRIVATE | map::ANONYMOUS | map::FIXED;
                player.machine.mmap(pid, at, PAGE_SIZE, protection("r"), flags).err()
            };
            let stopped = (0..most).find_map(&mut one);
            let mm = player.machine.mm_of(pid).expect("the process lives");
            let areas = player.machine.areas(mm).count();
            let said = stopped.map_or("all mapped", Errno::name);
            player.say(&format!("= {said} after which /proc/self/maps has {areas} lines"));
        }
        _ => return false,
    }
    true
}

impl Player {
    fn mmap(&mut self, file: &str, call: Mmap) -> Result<VirtAddr, Errno> {
        // The first thing the call looks at is the offset.
        if !call.offset.is_multiple_of(PAGE_SIZE) {
            return Err(Errno::EINVAL);
        }
        if file.starts_with('f') {
            return files::mmap(self, file, call).unwrap_or(Err(Errno::EBADF));
        }
        self.machine.mmap(self.me.pid, call.addr, call.len, call.prot, call.flags)
    }

    /// The result of a call that answers 0, and the areas.
    pub fn answered(&mut self, result: Result<(), Errno>) {
        self.answer(result.map(|()| 0));
        self.show_areas(false);
    }

    fn faults(&self) -> [u64; 2] {
        let task = &self.machine.tasks[&self.me.pid];
        [task.min_flt, task.maj_flt]
    }

    fn access(&mut self, what: &str, addr: &str, value: u8) {
        let (pid, addr) = (self.me.pid, VirtAddr(self.address(addr)));
        let before = self.faults();
        let mut byte = [0];
        let result = match what {
            "read" => self.machine.load(pid, addr, &mut byte),
            "write" => self.machine.store(pid, addr, &[value]),
            _ => self.machine.exec_user(pid, addr),
        };
        let said = match (result, what) {
            (Ok(()), "read") => format!("value {}", byte[0]),
            (Ok(()), _) => "ok".into(),
            (Err(stop), _) => {
                let (name, at) = signal(stop);
                format!("{name} at {}", self.relative(at))
            }
        };
        let [minor, major] = self.faults();
        self.say(&format!("= {said} minflt {} majflt {}", minor - before[0], major - before[1]));
    }

    fn touch(&mut self, write: bool, addr: &str, pages: u64) {
        let (pid, addr) = (self.me.pid, self.address(addr));
        let before = self.faults();
        let (mut done, mut why) = (0, String::new());
        while done < pages {
            let at = VirtAddr(addr + done * PAGE_SIZE);
            let result = match write {
                true => self.machine.store(pid, at, &[(done + 1) as u8]),
                false => self.machine.load(pid, at, &mut [0]),
            };
            if let Err(stop) = result {
                why = format!(" then {}", signal(stop).0);
                break;
            }
            done += 1;
        }
        let [minor, major] = self.faults();
        let (minor, major) = (minor - before[0], major - before[1]);
        self.say(&format!("= {done} pages touched{why} minflt {minor} majflt {major}"));
    }
}

/// A signal's name with its code, and the address it carries.
fn signal(stop: Stop) -> (String, u64) {
    match stop {
        Stop::Signal(Signal::Segv { addr, accerr: false }) => ("SIGSEGV SEGV_MAPERR".into(), addr.0),
        Stop::Signal(Signal::Segv { addr, accerr: true }) => ("SIGSEGV SEGV_ACCERR".into(), addr.0),
        Stop::Signal(Signal::GeneralProtection) => ("SIGSEGV SEGV_other".into(), 0),
        Stop::Signal(Signal::Bus { addr }) => ("SIGBUS BUS_ADRERR".into(), addr.0),
        Stop::Signal(Signal::Kill) => ("SIGKILL".into(), 0),
        Stop::Errno(errno) => (errno.name().into(), 0),
    }
}
