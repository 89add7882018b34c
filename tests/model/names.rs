//! Names and files against their objects: every dentry, every inode is one of its cache, and comes back.

use crate::machines::{boot, pc};
use vmlab::mm::Machine;
use vmlab::mm::addr::{PAGE_SIZE, VirtAddr};
use vmlab::mm::errno::Errno;
use vmlab::mm::filemap::Payload;
use vmlab::mm::kernel_caches::KernelCache;
use vmlab::mm::machine::Dice;
use vmlab::mm::mmap::{map, prot};
use vmlab::mm::shm::IPC_CREAT;
use vmlab::mm::vmstat::VmEvent;

const RW: u64 = prot::READ | prot::WRITE;

/// Objects in use: of dentries, of inodes on a tmpfs, of inodes on the disk.
fn objects(machine: &Machine) -> [u64; 3] {
    machine.check().unwrap_or_else(|e| panic!("{e}"));
    [KernelCache::Dentry, KernelCache::ShmemInode, KernelCache::Ext4Inode]
        .map(|kind| machine.kernel_cache(kind).map_or(0, |id| machine.cache_census(id).allocated))
}

/// Takes what nobody uses, second chances included.
fn shrink(machine: &mut Machine) {
    (0..3).for_each(|_| machine.drop_slab());
}

/// That many more than there were.
fn more(machine: &Machine, before: [u64; 3]) -> [u64; 3] {
    let now = objects(machine);
    [0, 1, 2].map(|n| now[n] - before[n])
}

#[test]
fn a_file_on_a_disk_has_a_dentry_and_an_inode() {
    let mut machine = boot(pc(1024, 4096, 1, 1));
    assert_eq!(objects(&machine), [0; 3]);
    // The disk is mounted by the first walk: the cache of its inodes comes with it.
    assert!(machine.caches.find("ext4_inode_cache").is_none());
    let file = machine.create_file("/home/data", 8 * PAGE_SIZE).unwrap();
    // The root, the directory, the file.
    assert_eq!(objects(&machine), [3, 0, 3]);
    assert_eq!((machine.dcache.state(), machine.dcache.inode_state()), ([3, 1, 0], [3, 0]));
    machine.open_file("/home/data").unwrap();
    machine.lookup("/home/data", true).unwrap();
    machine.pread(file, 0, 8 * PAGE_SIZE).unwrap();
    assert_eq!(objects(&machine), [3, 0, 3], "nothing counts twice");
    // A shrinker takes the names; the inode of the file stays as long as it has pages.
    shrink(&mut machine);
    assert_eq!(objects(&machine), [1, 0, 2]);
    assert_eq!((machine.files[file].nrpages, machine.dcache.inode_state()), (8, [2, 0]));
    machine.drop_caches(1);
    assert_eq!((machine.files[file].nrpages, machine.dcache.inode_state()), (0, [2, 1]));
    shrink(&mut machine);
    assert_eq!(objects(&machine), [1, 0, 1]);
    // The file is on the disk: whoever reads it brings its name and inode back.
    assert_eq!(machine.pread(file, 0, PAGE_SIZE), Ok(PAGE_SIZE));
    assert_eq!(objects(&machine), [3, 0, 3]);
    // The inode goes with its last name; the dentry says that there is no such name any more.
    machine.unlink("/home/data").unwrap();
    assert_eq!(objects(&machine), [3, 0, 2]);
    assert_eq!(machine.dcache.state(), [3, 1, 1]);
    assert_eq!(machine.open_file("/home/data"), Err(Errno::ENOENT));
    assert_eq!(machine.open_file("/home/other"), Err(Errno::ENOENT));
    assert_eq!(machine.dcache.state(), [4, 2, 2]);
    // A file takes the negative dentry that is there.
    machine.create_file("/home/data", 0).unwrap();
    assert_eq!((objects(&machine), machine.dcache.state()), ([4, 0, 3], [4, 2, 1]));
    assert_eq!(machine.create_file("/home", 0), Err(Errno::EEXIST));
    assert_eq!(machine.create_file("/home/data/x", 0), Err(Errno::ENOTDIR));
    assert_eq!(machine.create_file(&format!("/{}", "n".repeat(256)), 0), Err(Errno::ENAMETOOLONG));
}

#[test]
fn who_maps_a_file_keeps_its_name_and_its_inode() {
    let mut machine = boot(pc(1024, 4096, 1, 1));
    let pid = machine.spawn("model").unwrap();
    let file = machine.create_file("/data", 4 * PAGE_SIZE).unwrap();
    let map_it = |machine: &mut Machine| {
        machine.mmap_file(pid, VirtAddr(0), 4 * PAGE_SIZE, RW, map::SHARED, (file, 0)).unwrap()
    };
    let addr = map_it(&mut machine);
    machine.drop_caches(3);
    // It was on the list when it came into use, and is not any more.
    assert_eq!((objects(&machine), machine.dcache.state()), ([2, 0, 2], [2, 0, 0]));
    let second = machine.mmap_file(pid, VirtAddr(0), PAGE_SIZE, RW, map::PRIVATE, (file, 1)).unwrap();
    machine.munmap(pid, addr, 4 * PAGE_SIZE).unwrap();
    assert_eq!(machine.dcache.state(), [2, 0, 0]);
    machine.unlink("/data").unwrap();
    // The name is free, the file is not gone.
    assert_eq!((objects(&machine), machine.dcache.state()), ([2, 0, 2], [2, 0, 0]));
    let other = machine.create_file("/data", 0).unwrap();
    assert_eq!((objects(&machine), other == file), ([3, 0, 3], false));
    machine.write_user(pid, second, 7).unwrap();
    machine.munmap(pid, second, PAGE_SIZE).unwrap();
    assert_eq!((objects(&machine), machine.files.get(file).is_none()), ([2, 0, 2], true));
}

#[test]
fn names_on_a_tmpfs_stay_until_they_are_unlinked() {
    let mut machine = boot(pc(1024, 4096, 1, 1));
    let file = machine.create_file("/dev/shm/ring", 0).unwrap();
    // "/", "dev" and "shm" on the disk; the root of the tmpfs, and the file.
    assert_eq!(objects(&machine), [5, 2, 3]);
    machine.pwrite(file, 0, Payload::Fill { byte: 9, len: 3 * PAGE_SIZE }).unwrap();
    machine.drop_caches(3);
    assert_eq!((objects(&machine), machine.files[file].nrpages), ([5, 2, 3], 3));
    assert_eq!(machine.open_file("/dev/shm/none"), Err(Errno::ENOENT));
    // What a tmpfs has not got is not remembered.
    assert_eq!(objects(&machine), [5, 2, 3]);
    machine.unlink("/dev/shm/ring").unwrap();
    assert_eq!((objects(&machine), machine.dcache.state()), ([4, 1, 3], [4, 0, 0]));
    assert_eq!(machine.mount_tmpfs("/dev/shm", 0), Err(Errno::EBUSY));
    machine.mount_tmpfs("/mnt", PAGE_SIZE).unwrap();
    machine.create_file("/mnt/a", 0).unwrap();
    assert_eq!(machine.mount_tmpfs("/mnt/a", 0), Err(Errno::ENOTDIR));
    assert_eq!(objects(&machine), [7, 3, 4]);
}

#[test]
fn memory_that_is_shared_is_a_file_with_its_objects() {
    let mut machine = boot(pc(1024, 4096, 1, 1));
    let pid = machine.spawn("model").unwrap();
    let before = objects(&machine);
    let memfd = machine.memfd_create("ring").unwrap();
    assert_eq!(more(&machine, before), [1, 1, 0]);
    let anon = map::SHARED | map::ANONYMOUS;
    let zero = machine.mmap(pid, VirtAddr(0), 2 * PAGE_SIZE, RW, anon).unwrap();
    let segment = machine.shmget(7, PAGE_SIZE, IPC_CREAT | 0o600).unwrap();
    let at = machine.shmat(pid, segment, VirtAddr(0), 0).unwrap();
    assert_eq!(more(&machine, before), [3, 3, 0]);
    let child = machine.fork(pid).unwrap();
    assert_eq!(more(&machine, before), [3, 3, 0]);
    machine.drop_caches(3);
    machine.shm_rmid(segment).unwrap();
    machine.put_file(memfd);
    assert_eq!(more(&machine, before), [2, 2, 0]);
    machine.shmdt(pid, at).unwrap();
    machine.munmap(pid, zero, 2 * PAGE_SIZE).unwrap();
    assert_eq!(more(&machine, before), [2, 2, 0], "the child has them");
    machine.exit_task(child, 0).unwrap();
    assert_eq!(more(&machine, before), [0; 3]);
}

#[test]
fn a_file_that_cannot_have_its_objects_is_not_made() {
    type Call = fn(&mut Machine, vmlab::mm::task::Pid) -> Result<(), Errno>;
    let calls: [Call; 6] = [
        |m, _| m.create_file("/a/long/way/down", PAGE_SIZE).map(drop),
        |m, _| m.create_file("/dev/shm/ring", PAGE_SIZE).map(drop),
        |m, _| m.create_file(&format!("/{}", "n".repeat(200)), PAGE_SIZE).map(drop),
        |m, _| m.memfd_create("ring").map(drop),
        |m, _| m.shmget(7, PAGE_SIZE, IPC_CREAT | 0o600).map(drop),
        |m, pid| m.mmap(pid, VirtAddr(0), PAGE_SIZE, RW, map::SHARED | map::ANONYMOUS).map(drop),
    ];
    for (which, call) in calls.iter().enumerate() {
        let (mut n, mut failed) = (1, 0);
        loop {
            let mut machine = boot(pc(1024, 4096, 1, 1));
            let pid = machine.spawn("model").unwrap();
            let state = |m: &Machine| (m.files.len(), m.fs.names.len(), m.shm.segments.len(), m.committed_as);
            let before = state(&machine);
            // A slab is asked for twice: in a large block, and in the smallest.
            machine.set_fail_nth_times(n, 2);
            let answer = call(&mut machine, pid);
            machine.check().unwrap_or_else(|e| panic!("call {which}, allocation {n}: {e}"));
            if machine.fail_nth_left().is_some() {
                assert_eq!(answer, Ok(()));
                break;
            }
            if answer.is_err() {
                assert_eq!((answer, state(&machine)), (Err(Errno::ENOMEM), before), "call {which}, {n}");
                failed += 1;
                // With memory the same call goes through.
                assert_eq!(call(&mut machine, pid), Ok(()));
                machine.check().unwrap_or_else(|e| panic!("call {which}, allocation {n}, again: {e}"));
            }
            n += 1;
        }
        assert!(failed > 0, "call {which}: none of {n} allocations decides");
    }
}

#[test]
fn where_memory_is_high_an_inode_loses_its_pages_to_its_shrinker() {
    for (name, pages, stolen) in [("x86_64-1G", 4, 0), ("i386-2G", 0, 4)] {
        let mut machine = boot(vmlab::import::shipped::get(name).unwrap());
        let file = machine.create_file("/data", 4 * PAGE_SIZE).unwrap();
        machine.pread(file, 0, 4 * PAGE_SIZE).unwrap();
        shrink(&mut machine);
        machine.check().unwrap();
        let counted = machine.vmstat.get(VmEvent::Pginodesteal);
        assert_eq!((machine.files[file].nrpages, counted), (pages, stolen), "{name}");
    }
}

#[test]
fn whatever_happens_to_files_their_objects_are_those_of_their_names() {
    for seed in 0..6 {
        let mut machine = boot(pc(1024, 3000, 1, 1 + (seed % 2) as u8));
        let pid = machine.spawn("model").unwrap();
        let mut dice = Dice::new(seed);
        let mut maps = Vec::new();
        for step in 0..600 {
            let disk = dice.below(3) > 0;
            let path =
                format!("{}/{}/f{}", if disk { "/home" } else { "/dev/shm" }, dice.below(3), dice.below(8));
            let file = machine.lookup_file(&path);
            match dice.below(12) {
                0..3 => drop(machine.create_file(&path, 4 * PAGE_SIZE)),
                3 => drop(machine.unlink(&path)),
                4 => drop(machine.open_file(&path)),
                5 => drop(machine.lookup(&path, disk && dice.below(2) == 0)),
                6 => drop(file.map(|file| machine.pread(file, 0, 4 * PAGE_SIZE).unwrap())),
                7 => drop(file.map(|file| {
                    machine.pwrite(file, PAGE_SIZE, Payload::Fill { byte: 1, len: PAGE_SIZE }).unwrap()
                })),
                8 => {
                    if let Ok(file) = file {
                        let len = 2 * PAGE_SIZE;
                        let at =
                            machine.mmap_file(pid, VirtAddr(0), len, RW, map::SHARED, (file, 0)).unwrap();
                        maps.push((at, len));
                    }
                }
                9 if !maps.is_empty() => {
                    let (at, len) = maps.swap_remove(dice.below(maps.len() as u64) as usize);
                    machine.munmap(pid, at, len).unwrap();
                }
                10 => machine.drop_caches(1 + dice.below(3) as u32),
                _ => machine.sync(),
            }
            machine.check().unwrap_or_else(|e| panic!("seed {seed} step {step}: {path}: {e}"));
        }
        let paths: Vec<_> = machine.fs.names.keys().cloned().collect();
        paths.iter().for_each(|path| machine.unlink(path).unwrap());
        machine.exit_task(pid, 0).unwrap();
        (0..3).for_each(|_| machine.drop_caches(3));
        let tmpfs = machine.fs.mounts.iter().filter(|mount| mount.root.is_some()).count() as u64 - 1;
        let [dentries, shmem, disk] = objects(&machine);
        // Roots and directories: those of a tmpfs, and those of the disk on the way to it.
        assert!(machine.files.is_empty() && tmpfs == 1);
        assert!(shmem <= 4 && disk <= 3 && dentries == shmem + disk, "{dentries} {shmem} {disk}");
    }
}
