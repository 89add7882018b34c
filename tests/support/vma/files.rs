//! Steps of files, pages of files and System V shared memory.

use super::Player;
use super::calls::Mmap;
use super::words::{flags, integer, number};
use std::collections::BTreeMap;
use vmlab::mm::addr::{PAGE_SIZE, VirtAddr};
use vmlab::mm::errno::Errno;
use vmlab::mm::filemap::Payload;
use vmlab::mm::fs::{FileId, FileMode, MapFile};
use vmlab::mm::msync::ms;
use vmlab::mm::shm;

const SHMAT: [(&str, u64); 5] =
    [("rdonly", shm::SHM_RDONLY), ("rnd", shm::SHM_RND), ("remap", shm::SHM_REMAP), ("-", 0), ("0", 0)];

/// What these steps keep between them: open files by name, segments by name.
#[derive(Default)]
pub struct Files {
    open: BTreeMap<String, (FileId, FileMode)>,
    segments: BTreeMap<String, i32>,
}

/// Plays a step of these; false when the word is none of them.
pub fn step(player: &mut Player, words: &[&str]) -> bool {
    let word = |at: usize| words.get(at).copied().unwrap_or("0");
    let pid = player.me.pid;
    let file = |player: &Player| player.files.open.get(word(1)).map(|(id, _)| *id);
    match word(0) {
        "open" => {
            open(player, word(1), word(2), integer(word(3)), words.get(4).copied().unwrap_or("rw"));
            player.say("= ok");
        }
        // A directory can be opened, not mapped: nothing of that name is a file.
        "opendir" => player.say("= ok"),
        "close" => {
            if let Some((id, _)) = player.files.open.remove(word(1)) {
                player.machine.put_file(id);
            }
            player.answer(Ok(0));
        }
        "ftruncate" => {
            let size = number(word(2));
            let result = file(player).ok_or(Errno::EBADF).and_then(|id| player.machine.truncate(id, size));
            player.answer(result.map(|()| 0));
        }
        "pread" => {
            let mut byte = [0];
            let at = number(word(2));
            let result =
                file(player).ok_or(Errno::EBADF).and_then(|id| player.machine.read_file(id, at, &mut byte));
            match result {
                Ok(1) => player.say(&format!("= value {}", byte[0])),
                Ok(_) => player.say("= end of file"),
                Err(errno) => player.answer(Err(errno)),
            }
        }
        "pwrite" => {
            let byte = [integer(word(3)) as u8];
            let at = number(word(2));
            let payload = Payload::Bytes(&byte);
            let result =
                file(player).ok_or(Errno::EBADF).and_then(|id| player.machine.pwrite(id, at, payload));
            player.answer(result);
        }
        "readinto" => {
            let (addr, len) = (VirtAddr(player.address(word(2))), number(word(3)));
            let result = file(player)
                .ok_or(Errno::EBADF)
                .and_then(|id| player.machine.read_into(pid, id, 0, addr, len));
            player.answer(result);
        }
        "msync" => {
            let (addr, len) = (VirtAddr(player.address(word(1))), number(word(2)));
            let result = player.machine.msync(pid, addr, len, ms::SYNC);
            player.answered(result);
        }
        "mincore" => {
            let (addr, len) = (VirtAddr(player.address(word(1))), number(word(2)));
            match player.machine.mincore(pid, addr, len) {
                Ok(pages) => {
                    let bits: String = pages.iter().map(|there| if *there { '1' } else { '0' }).collect();
                    player.say(&format!("= {bits}"));
                }
                Err(errno) => player.answer(Err(errno)),
            }
        }
        "shmget" => {
            let mode = shm::IPC_CREAT | 0o600;
            let id =
                player.machine.shmget(shm::IPC_PRIVATE, number(word(2)), mode).expect("memory for a segment");
            player.files.segments.insert(word(1).into(), id);
            player.say("= ok");
        }
        "shmat" => {
            let (id, addr) = (segment(player, word(2)), VirtAddr(player.address(word(3))));
            let result = player.machine.shmat(pid, id, addr, flags(&SHMAT, word(4)));
            player.answer_address(word(1), result);
            player.show_areas(false);
        }
        "shmdt" => {
            let addr = VirtAddr(player.address(word(1)));
            let result = player.machine.shmdt(pid, addr);
            player.answered(result);
        }
        "shmrm" => {
            let id = segment(player, word(1));
            let result = player.machine.shm_rmid(id);
            player.answer(result.map(|()| 0));
        }
        "shmstat" => match player.machine.shm_stat(segment(player, word(1))) {
            Ok(stat) => {
                player.say(&format!("= nattch {} size {} mode {:o}", stat.nattch, stat.size, stat.mode))
            }
            Err(errno) => player.answer(Err(errno)),
        },
        _ => return false,
    }
    true
}

fn segment(player: &Player, name: &str) -> i32 {
    player.files.segments.get(name).copied().unwrap_or(-1)
}

/// Makes a file as the recorder does: page i is filled with byte i + 1, and everything is on the disk.
fn open(player: &mut Player, name: &str, kind: &str, pages: u64, mode: &str) {
    let machine = &mut player.machine;
    let path = format!("{}/{name}", if kind == "tmpfs" { "/dev/shm" } else { "/tmp" });
    let id = machine.create_file(&path, 0).expect("a new file");
    machine.get_file(id);
    for page in 0..pages {
        let payload = Payload::Fill { byte: (page + 1) as u8, len: PAGE_SIZE };
        machine.pwrite(id, page * PAGE_SIZE, payload).expect("room for a file");
    }
    machine.fsync(id);
    let mode = match mode {
        "r" => FileMode::READ,
        "w" => FileMode { read: false, write: true },
        _ => FileMode::READ_WRITE,
    };
    player.files.open.insert(name.into(), (id, mode));
}

/// Maps the file of a step `mmap NAME ADDR LEN PROT FLAGS FILE OFF`; `None` when no file of that name is open.
pub fn mmap(player: &mut Player, file: &str, call: Mmap) -> Option<Result<VirtAddr, Errno>> {
    let (id, mode) = *player.files.open.get(file)?;
    let (pid, file) = (player.me.pid, MapFile { id, pgoff: call.offset / PAGE_SIZE, mode });
    Some(player.machine.mmap_file(pid, call.addr, call.len, call.prot, call.flags, file))
}
