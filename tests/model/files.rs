//! Tasks that map, write, read, cut and share files, against a map of what each page of a file and each private copy says.

use crate::machines::{boot, pc};
use std::collections::BTreeMap;
use vmlab::mm::Machine;
use vmlab::mm::addr::{PAGE_SIZE, VirtAddr};
use vmlab::mm::config::SwapConfig;
use vmlab::mm::errno::Signal;
use vmlab::mm::filemap::Payload;
use vmlab::mm::fs::FileId;
use vmlab::mm::machine::Dice;
use vmlab::mm::memory::{Access, Stop};
use vmlab::mm::mmap::{map, prot};
use vmlab::mm::task::Pid;

/// Pages of each file at first, and pages of every mapping of it.
const PAGES: u64 = 300;
const RW: u64 = prot::READ | prot::WRITE;

/// A file: its size in pages, and the first 8 bytes of each page.
struct Model {
    id: FileId,
    pages: u64,
    words: Vec<u64>,
}

/// What a task has mapped: of each file, shared and private; and its private copies.
#[derive(Clone)]
struct Mapped {
    shared: Vec<u64>,
    private: Vec<u64>,
    copies: Vec<BTreeMap<u64, u64>>,
    hog: u64,
}

fn first_word(disk: bool, page: u64) -> u64 {
    if disk { u64::from_le_bytes([(page + 1) as u8; 8]) } else { 0 }
}

fn map_all(machine: &mut Machine, files: &[Model]) -> (Pid, Mapped) {
    let pid = machine.spawn("model").unwrap();
    let mut of = |flags: u64| -> Vec<u64> {
        let mut map_one = |file: &Model| {
            machine.mmap_file(pid, VirtAddr(0), PAGES * PAGE_SIZE, RW, flags, (file.id, 0)).unwrap().0
        };
        files.iter().map(&mut map_one).collect()
    };
    let (shared, private) = (of(map::SHARED), of(map::PRIVATE));
    let anon = map::PRIVATE | map::ANONYMOUS;
    let hog = machine.mmap(pid, VirtAddr(0), 1500 * PAGE_SIZE, RW, anon).unwrap().0;
    (pid, Mapped { shared, private, copies: vec![BTreeMap::new(); files.len()], hog })
}

fn run(seed: u64, steps: u32) {
    let mut config = pc(1024, 2000 + seed % 300, 1 + (seed % 2) as u16, 1);
    config.swap.push(SwapConfig { name: "/dev/vda".into(), pages: 6000, priority: None });
    let mut machine = boot(config);
    // Roots and directories stay.
    machine.lookup("/dev/shm", true).unwrap();
    let before = machine.check().unwrap_or_else(|e| panic!("seed {seed} boot: {e}"));
    let mut dice = Dice::new(seed);
    let mut files: Vec<Model> = ["/a", "/b", "/dev/shm/c", "/dev/shm/d"]
        .iter()
        .map(|path| {
            let id = machine.create_file(path, PAGES * PAGE_SIZE).unwrap();
            let disk = !path.starts_with("/dev/shm");
            Model { id, pages: PAGES, words: (0..PAGES).map(|page| first_word(disk, page)).collect() }
        })
        .collect();
    let mut tasks: BTreeMap<Pid, Mapped> = BTreeMap::new();
    for step in 0..steps {
        let fail = |what: String| -> ! { panic!("seed {seed} step {step}: {what}") };
        if tasks.is_empty() {
            let (pid, mapped) = map_all(&mut machine, &files);
            tasks.insert(pid, mapped);
        }
        let pid = *tasks.keys().nth(dice.below(tasks.len() as u64) as usize).unwrap();
        let (f, page) = (dice.below(4) as usize, dice.below(PAGES));
        let inside = page < files[f].pages;
        let value = dice.next_u64();
        match dice.below(100) {
            0..3 if tasks.len() < 4 => {
                let (pid, mapped) = map_all(&mut machine, &files);
                tasks.insert(pid, mapped);
            }
            3..6 if tasks.len() < 4 => {
                let child = machine.fork(pid).unwrap_or_else(|e| fail(format!("fork: {e}")));
                tasks.insert(child, tasks[&pid].clone());
            }
            6..8 => {
                machine.exit_task(pid, 0).unwrap();
                tasks.remove(&pid);
            }
            8..20 if inside => {
                let payload = Payload::Bytes(&value.to_le_bytes());
                let wrote = machine.pwrite(files[f].id, page * PAGE_SIZE, payload);
                assert_eq!(wrote, Ok(8), "seed {seed} step {step}");
                files[f].words[page as usize] = value;
            }
            20..30 => {
                let mut bytes = [0; 8];
                let read = machine.read_file(files[f].id, page * PAGE_SIZE, &mut bytes);
                let want = if inside { (Ok(8), files[f].words[page as usize]) } else { (Ok(0), 0) };
                if (read, u64::from_le_bytes(bytes)) != want {
                    fail(format!("pread of file {f} page {page}: {read:?} {bytes:x?}, want {want:x?}"));
                }
            }
            30..45 if inside => {
                let addr = VirtAddr(tasks[&pid].shared[f] + page * PAGE_SIZE);
                machine.write_user(pid, addr, value).unwrap_or_else(|e| fail(format!("shared write: {e:?}")));
                files[f].words[page as usize] = value;
            }
            45..55 if inside => {
                let mapped = tasks.get_mut(&pid).unwrap();
                let addr = VirtAddr(mapped.private[f] + page * PAGE_SIZE);
                machine
                    .write_user(pid, addr, value)
                    .unwrap_or_else(|e| fail(format!("private write: {e:?}")));
                mapped.copies[f].insert(page, value);
            }
            55..75 if inside => {
                let mapped = &tasks[&pid];
                let word = files[f].words[page as usize];
                let copy = mapped.copies[f].get(&page).copied().unwrap_or(word);
                for (base, want, what) in
                    [(mapped.shared[f], word, "shared"), (mapped.private[f], copy, "private")]
                {
                    match machine.read_user(pid, VirtAddr(base + page * PAGE_SIZE)) {
                        Ok(got) if got == want => {}
                        other => {
                            fail(format!("{what} read of file {f} page {page}: {other:x?}, want {want:x}"))
                        }
                    }
                }
            }
            75..78 => {
                let pages = dice.below(PAGES + 1);
                machine.truncate(files[f].id, pages * PAGE_SIZE).unwrap();
                for page in pages..files[f].pages {
                    files[f].words[page as usize] = 0;
                    for mapped in tasks.values_mut() {
                        mapped.copies[f].remove(&page);
                    }
                }
                files[f].pages = pages;
            }
            78..82 => machine.fsync(files[f].id),
            82..84 => machine.sleep_for(1_000_000),
            84..96 => {
                // Pages without bytes press the others out.
                let addr = VirtAddr(tasks[&pid].hog + dice.below(1400) * PAGE_SIZE);
                machine
                    .touch(pid, addr, 100 * PAGE_SIZE, Access::Write)
                    .unwrap_or_else(|e| fail(format!("touch: {e:?}")));
            }
            96.. if !inside => {
                let addr = VirtAddr(tasks[&pid].shared[f] + page * PAGE_SIZE);
                let told = machine.read_user(pid, addr);
                if told != Err(Stop::Signal(Signal::Bus { addr })) {
                    fail(format!("file {f} page {page} lies beyond the end: {told:?}"));
                }
                tasks.remove(&pid);
            }
            _ => {}
        }
        if step % 8 == 0 {
            machine.check().unwrap_or_else(|e| fail(e.to_string()));
        }
    }
    for pid in tasks.keys() {
        machine.exit_task(*pid, 0).unwrap();
    }
    for (f, file) in files.iter().enumerate() {
        for page in 0..file.pages {
            let mut bytes = [0; 8];
            machine.read_file(file.id, page * PAGE_SIZE, &mut bytes).unwrap();
            let (got, want) = (u64::from_le_bytes(bytes), file.words[page as usize]);
            assert_eq!(got, want, "seed {seed} end: file {f} page {page}");
        }
    }
    for path in ["/a", "/b", "/dev/shm/c", "/dev/shm/d"] {
        machine.unlink(path).unwrap();
    }
    machine.sleep_for(1_000_000_000);
    machine.reclaim_node(0, 10_000);
    machine.shrink_all_caches();
    machine.drain_all_pages(None);
    let after = machine.check().unwrap_or_else(|e| panic!("seed {seed} end: {e}"));
    let left = (after.used, machine.contents.len(), machine.committed_as, machine.files.len());
    assert_eq!(left, (before.used, 0, 0, 0), "seed {seed}: leak");
}

#[test]
fn files_say_what_was_written() {
    for seed in 0..100 {
        run(seed, 300);
    }
}

#[test]
fn a_full_tmpfs_says_so_and_gives_room_back() {
    let mut machine = boot(pc(1024, 4096, 1, 1));
    machine.mount_tmpfs("/mnt", 10 * PAGE_SIZE).unwrap();
    let file = machine.create_file("/mnt/a", 20 * PAGE_SIZE).unwrap();
    let wrote = machine.pwrite(file, 0, Payload::Same { len: 16 * PAGE_SIZE });
    assert_eq!(wrote, Ok(10 * PAGE_SIZE));
    let pid = machine.spawn("app").unwrap();
    let addr = machine.mmap_file(pid, VirtAddr(0), 20 * PAGE_SIZE, RW, map::SHARED, (file, 0)).unwrap();
    let at = VirtAddr(addr.0 + 12 * PAGE_SIZE);
    assert_eq!(machine.write_user(pid, at, 1), Err(Stop::Signal(Signal::Bus { addr: at })));
    machine.truncate(file, PAGE_SIZE).unwrap();
    machine.check().unwrap();
    assert_eq!(machine.pwrite(file, 2 * PAGE_SIZE, Payload::Same { len: PAGE_SIZE }), Ok(PAGE_SIZE));
    machine.unlink("/mnt/a").unwrap();
    assert_eq!(machine.fs.mounts.last().unwrap().used_blocks, 0);
    machine.check().unwrap();
}
