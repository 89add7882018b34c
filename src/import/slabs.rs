//! Slab caches of a machine: from /proc/slabinfo and /sys/kernel/slab, and as lines of a spec.
//!
//! ```text
//!   mm_struct 1096/1152 64 - 14/14                      name, object and whole, alignment, flags, objects active and in all
//!   filp,io_kiocb,posix_timers_cache 256/256 64 A 16/16     names of merged caches, the one that lives first
//! ```
//!
//! Fidelity: imported — caches, sizes, objects. Inferred — which of the caches that are never merged are reclaimable: /sys
//! does not tell it in a name, the kernel's source does.

use crate::import::shipped;
use crate::mm::config::{Arch, CacheConfig};
use crate::mm::slab_common::SlabFlags;
use std::collections::BTreeMap;

/// Caches with a directory of their own that count as reclaimable.
const RECLAIMABLE: &[&str] = &[
    "dentry",
    "inode_cache",
    "proc_inode_cache",
    "bdev_cache",
    "sock_inode_cache",
    "dax_cache",
    "radix_tree_node",
    "ext4_inode_cache",
    "xfs_inode",
    "btrfs_inode",
    "nfs_inode_cache",
    "fat_inode_cache",
    "squashfs_inode_cache",
    "isofs_inode_cache",
    "fuse_inode",
    "ovl_inode",
];

/// The caches of a capture in the order of their creation: slabinfo lists the newest first.
pub fn parse(slabinfo: &str, sysfs: &str) -> Vec<CacheConfig> {
    let (rows, links) = sysfs.split_once("# links").unwrap_or((sysfs, ""));
    let rows: BTreeMap<&str, Vec<&str>> = rows
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| {
            let mut words = line.split_whitespace();
            Some((words.next()?, words.collect()))
        })
        .collect();
    let links: Vec<(&str, &str)> = links.lines().filter_map(|line| line.split_once(" -> ")).collect();
    let mut caches = Vec::new();
    for line in slabinfo.lines().filter(|line| !line.starts_with('#') && !line.starts_with("slabinfo")) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [name, active, total, size, ..] = words[..] else { continue };
        let (Ok(active), Ok(total), Ok(size)) = (active.parse(), total.parse(), size.parse()) else {
            continue;
        };
        let id = links.iter().find(|(link, _)| *link == name).map(|(_, id)| id.trim());
        let row = rows.get(id.unwrap_or(name));
        let number = |at: usize| row.and_then(|row| row.get(at)?.parse().ok());
        let mut names = vec![name.to_string()];
        if let Some(id) = id {
            let others = links.iter().filter(|(link, of)| of.trim() == id && *link != name);
            names.extend(others.map(|(link, _)| link.to_string()));
        }
        caches.push(CacheConfig {
            names,
            object_size: number(0).unwrap_or(size),
            size,
            align: number(4).unwrap_or(8),
            flags: flags_of(name, id),
            active,
            total,
        });
    }
    caches.reverse();
    caches
}

/// What a name and the unique name of a merged cache tell: `:aA-0000192`.
fn flags_of(name: &str, id: Option<&str>) -> SlabFlags {
    let letters = id.and_then(|id| id.strip_prefix(':')?.split_once('-')).map_or("", |(letters, _)| letters);
    let mut flags = SlabFlags::NONE;
    for letter in letters.chars() {
        flags = flags | flag(letter);
    }
    let reclaim = name.starts_with("kmalloc-rcl-") || (id.is_none() && RECLAIMABLE.contains(&name));
    let flags = flags.with(SlabFlags::RECLAIM_ACCOUNT, reclaim || letters.contains('a'));
    let flags = flags.with(SlabFlags::CACHE_DMA, name.starts_with("dma-kmalloc-") || letters.contains('d'));
    let flags = flags.with(SlabFlags::ACCOUNT, name.starts_with("kmalloc-cg-") || letters.contains('A'));
    let kmalloc = name.starts_with("kmalloc-") || name.starts_with("dma-kmalloc-");
    // A cache that has its own directory was never to be merged.
    flags.with(SlabFlags::TYPESAFE_BY_RCU, id.is_none() && !kmalloc && !name.starts_with("kmem_cache"))
}

/// The letters of flags in a spec, as far as SLUB has them in its unique names.
const LETTERS: &[(char, SlabFlags)] = &[
    ('d', SlabFlags::CACHE_DMA),
    ('D', SlabFlags::CACHE_DMA32),
    ('a', SlabFlags::RECLAIM_ACCOUNT),
    ('A', SlabFlags::ACCOUNT),
    ('!', SlabFlags::TYPESAFE_BY_RCU),
];

fn flag(letter: char) -> SlabFlags {
    LETTERS.iter().find(|(known, _)| *known == letter).map_or(SlabFlags::NONE, |(_, flag)| *flag)
}

/// A cache as a line of a spec.
pub fn line(cache: &CacheConfig) -> String {
    let letters: String =
        LETTERS.iter().filter(|(_, flag)| cache.flags.has(*flag)).map(|(letter, _)| *letter).collect();
    format!(
        "{} {}/{} {} {} {}/{}",
        cache.names.join(","),
        cache.object_size,
        cache.size,
        cache.align,
        if letters.is_empty() { "-" } else { &letters },
        cache.active,
        cache.total
    )
}

/// Reads such lines; says which one is none.
pub fn from_lines(text: &str) -> Result<Vec<CacheConfig>, String> {
    text.lines()
        .filter(|line| !line.trim().is_empty())
        .map(|line| from_line(line).ok_or(line.to_string()))
        .collect()
}

fn from_line(line: &str) -> Option<CacheConfig> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let [names, sizes, align, letters, objects] = words[..] else { return None };
    let pair = |text: &str| -> Option<(u64, u64)> {
        let (a, b) = text.split_once('/')?;
        Some((a.parse().ok()?, b.parse().ok()?))
    };
    let ((object_size, size), (active, total)) = (pair(sizes)?, pair(objects)?);
    let align: u32 = align.parse().ok()?;
    let known = letters == "-" || letters.chars().all(|letter| flag(letter) != SlabFlags::NONE);
    let fits = (1..=4 << 20).contains(&size)
        && (1..=size).contains(&object_size)
        && active <= total
        && total <= 1 << 32;
    (known && fits && align.is_power_of_two() && align <= 1 << 15 && names.len() <= 4096).then(|| {
        CacheConfig {
            names: names.split(',').map(str::to_string).collect(),
            object_size: object_size as u32,
            size: size as u32,
            align,
            flags: letters.chars().fold(SlabFlags::NONE, |flags, letter| flags | flag(letter)),
            active,
            total,
        }
    })
}

/// The caches that a kernel of this architecture makes, as one was captured; none of them has a slab.
pub fn usual(arch: Arch) -> Vec<CacheConfig> {
    let name = match arch {
        Arch::X86_64 => "x86_64-1G",
        Arch::I386 => "i386-2G",
        Arch::I386Pae => "i386-pae-1G",
        Arch::Arm64 => "arm64-1G",
        Arch::Uml => "uml-64M",
        Arch::Arm => return Vec::new(),
    };
    let text = shipped::text(name).unwrap_or("");
    let lines = text.lines().skip_while(|line| !line.starts_with("slabs: |")).skip(1);
    let caches = lines.take_while(|line| line.starts_with("  ")).filter_map(from_line);
    caches.map(|cache| CacheConfig { active: 0, total: 0, ..cache }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cache_is_put_together_from_both_files() {
        let slabinfo = "slabinfo - version: 2.1\n# name <active_objs> …\nfilp 16 32 256 16 1 : tunables 0 0 0 : slabdata 2 2 0\n\
                        dentry 21 21 192 21 1 : tunables 0 0 0 : slabdata 1 1 0\n";
        let sysfs = "# cache …\n:A-0000256 256 256 16 0 64 5 52\ndentry 192 192 21 0 8 5 120\n# links\nfilp -> :A-0000256\nio_kiocb -> :A-0000256\n";
        let caches = parse(slabinfo, sysfs);
        let lines: Vec<String> = caches.iter().map(line).collect();
        assert_eq!(lines, ["dentry 192/192 8 a! 21/21", "filp,io_kiocb 256/256 64 A 16/32"]);
        assert_eq!(from_lines(&lines.join("\n")).unwrap(), caches);
    }

    #[test]
    fn lines_that_are_none_are_named() {
        for wrong in ["x", "a 8/8 8 - 1/", "a 9/8 8 - 0/0", "a 8/8 3 - 0/0", "a 8/8 8 q 0/0", "a 8/8 8 - 2/1"]
        {
            assert_eq!(from_lines(wrong), Err(wrong.to_string()));
        }
    }
}
