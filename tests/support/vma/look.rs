//! Steps that look: areas, smaps, pagemap, status, and what is committed.

use super::words::integer;
use super::{Player, SWAP, swap};
use vmlab::mm::addr::{PAGE_SIZE, VirtAddr};
use vmlab::mm::page::PageFlags;
use vmlab::mm::pgtable::Pte;
use vmlab::mm::rmap::MAPPING_ANON;
use vmlab::script::proc;

/// Lines of smaps that answers show, when they are not 0.
const SMAPS: [&str; 12] = [
    "Rss:",
    "Pss:",
    "Shared_Clean:",
    "Shared_Dirty:",
    "Private_Clean:",
    "Private_Dirty:",
    "Referenced:",
    "Anonymous:",
    "LazyFree:",
    "AnonHugePages:",
    "Swap:",
    "Locked:",
];

pub fn step(player: &mut Player, words: &[&str]) -> bool {
    let word = |at: usize| words.get(at).copied().unwrap_or("0");
    match word(0) {
        "maps" => player.show_areas(true),
        "withstack" => {
            player.me.with_stack = true;
            player.say("= ok");
            player.show_areas(false);
        }
        "smaps" => player.smaps(),
        "pagemap" => {
            let (addr, pages) = (player.address(word(1)), integer(word(2)));
            let shown: Vec<String> = (0..pages).map(|n| player.entry(addr + n * PAGE_SIZE)).collect();
            player.say(&format!("= pagemap {}", shown.join(" ")));
        }
        "status" => {
            let now = ["VmSize", "VmData", "VmStk"].map(|name| player.status_pages(name));
            let [size, data, stack] = [0, 1, 2].map(|i| now[i] as i64 - player.status[i] as i64);
            let locked = player.status_pages("VmLck");
            player.say(&format!("= vmsize {size:+} locked {locked} data {data:+} stack {stack:+}"));
        }
        "count" => {
            let areas = player.file("maps").lines().count();
            match player.me.count {
                None => {
                    player.me.count = Some(areas);
                    player.say("= vmas in all: reference taken");
                }
                Some(first) => player.say(&format!("= vmas in all {:+}", areas as i64 - first as i64)),
            }
        }
        "committed" => match player.me.committed {
            None => {
                player.me.committed = Some(player.machine.committed_as);
                player.say("= committed reference taken");
            }
            Some(first) => {
                let more = player.machine.committed_as as i64 - first as i64;
                player.say(&format!("= committed {more:+}"));
            }
        },
        "overcommit_limit" => {
            let kb = (player.machine.committed_as + integer(word(1))) * 4;
            let limit = kb.saturating_sub(player.machine.swap_pages().0 * 4);
            for (name, value) in [("overcommit_kbytes", limit), ("overcommit_memory", 2)] {
                player.machine.set_sysctl(name, &value.to_string()).expect("it takes any number");
            }
            player.say("= ok");
        }
        "sysctl" => {
            let set = player.machine.set_sysctl(word(1), word(2));
            let said = set.map_or_else(|e| e.errno.name().to_string(), |()| "ok".into());
            player.say(&format!("= {said}"));
        }
        "put" => {
            let said = match proc::write(&mut player.machine, word(1), word(2)) {
                Ok(()) => "ok".into(),
                Err(why) => why.to_string(),
            };
            player.say(&format!("= {said}"));
        }
        "swapoff" => {
            let result = player.machine.swapoff(SWAP).map(|()| 0);
            player.answer(result);
        }
        "swapon" => {
            let result = player.machine.swapon(&swap()).map(|_| 0);
            player.answer(result);
        }
        "sleep" => {
            player.machine.sleep_for(integer(word(1)) * 1_000_000);
            player.say("= ok");
        }
        _ => return false,
    }
    true
}

impl Player {
    /// A file of /proc/PID of the process whose turn it is.
    fn file(&mut self, name: &str) -> String {
        let path = format!("/proc/{}/{name}", self.me.pid);
        let table = proc::read(&mut self.machine, &path).unwrap_or_else(|e| panic!("{path}: {e}"));
        vmlab::shell::render::plain(&table)
    }

    /// A number of /proc/PID/status, in pages.
    pub fn status_pages(&mut self, name: &str) -> u64 {
        let text = self.file("status");
        let line = text.lines().find_map(|l| l.strip_prefix(name)?.strip_prefix(':'));
        line.and_then(|l| l.trim().strip_suffix(" kB")?.parse::<u64>().ok()).unwrap_or(0) / 4
    }

    /// The areas in the windows, one a line.
    pub fn list(&mut self) -> String {
        let mut text = String::new();
        for line in self.file("maps").lines() {
            let mut words = line.split_whitespace();
            let (range, perms, offset) = (words.next(), words.next(), words.next());
            let name = words.nth(2).unwrap_or("");
            let (start, end) = hex_range(range.unwrap_or(""));
            let stack = name == "[stack]" && self.me.with_stack;
            if !(self.is_shown(start) || stack) || name.starts_with("[v") {
                continue;
            }
            let offset = u64::from_str_radix(offset.unwrap_or("0"), 16).unwrap_or(0) / PAGE_SIZE;
            let name = match name {
                "" => "anon",
                name if name.starts_with("/dev/zero") => "shared-anon",
                name if name.starts_with("/SYSV") => "sysv-shm",
                name => name.rsplit('/').next().unwrap_or(name),
            };
            let (start, end) = (self.relative(start), self.relative(end));
            text += &format!("=   {start}..{end} {} {offset} {name}\n", perms.unwrap_or(""));
        }
        text
    }

    /// Shows the areas, unless they are as they were.
    pub fn show_areas(&mut self, always: bool) {
        let now = self.list();
        if !always && now == self.me.shown {
            return self.say("=   (vmas unchanged)");
        }
        self.out += if now.is_empty() { "=   (no vmas)\n" } else { &now };
        self.me.shown = now;
    }

    fn smaps(&mut self) {
        let mut line = None;
        for l in self.file("smaps").lines() {
            let first = l.split_whitespace().next().unwrap_or("");
            if let Some(words) = l.strip_prefix("VmFlags:") {
                if let Some(line) = line.take() {
                    let line: String = line;
                    self.say(&format!("{line} flags[{}]", words.trim()));
                }
            } else if !first.ends_with(':') {
                let (start, end) = hex_range(first);
                let shown = self.is_shown(start) && !l.contains("[v") && !l.contains("[heap]");
                let perms = l.split_whitespace().nth(1).unwrap_or("");
                let area = format!("=   {}..{} {perms}", self.relative(start), self.relative(end));
                line = shown.then_some(area);
            } else if let Some(line) = &mut line
                && SMAPS.contains(&first)
            {
                let kb = l.split_whitespace().nth(1).unwrap_or("0");
                if kb != "0" {
                    *line += &format!(" {}={kb}kB", first.trim_end_matches(':').to_lowercase());
                }
            }
        }
    }

    /// What /proc/PID/pagemap, /proc/kpageflags and /proc/kpagecount say of a page.
    fn entry(&self, addr: u64) -> String {
        let machine = &self.machine;
        let mm = machine.mm_of(self.me.pid).expect("the process lives");
        let pte = machine.tables.pte(machine.mms[mm].pgd, VirtAddr(addr));
        if pte.is_swap() {
            return "S".into();
        }
        if !pte.is_present() {
            return "-".into();
        }
        if pte.has(Pte::SPECIAL) {
            return "Z".into();
        }
        let page = machine.mem_map.page(pte.pfn());
        let kind = if page.mapping & MAPPING_ANON != 0 { "A" } else { "F" };
        let count = page.mapcount();
        let alone = if count == 1 { "x" } else { "" };
        let locked = if page.is(PageFlags::MLOCKED) { "m" } else { "" };
        let huge = if page.is_thp() { "H" } else { "" };
        format!("{huge}{kind}{count}{alone}{locked}")
    }
}

/// `1000000000-1000004000`.
fn hex_range(text: &str) -> (u64, u64) {
    let (start, end) = text.split_once('-').unwrap_or(("0", "0"));
    let hex = |text| u64::from_str_radix(text, 16).unwrap_or(0);
    (hex(start), hex(end))
}
