//! Small files: CPUs and distances of nodes, transparent huge pages, swap areas, counters.
//!
//! Gorman chapters 2 and 11. Kernel: `drivers/base/node.c`, `mm/huge_memory.c`, `mm/swapfile.c`, `fs/proc/meminfo.c`.
//! Fidelity: faithful — what these files show.

use crate::import::ImportError;
use crate::import::text::{lines, list};
use crate::mm::addr::PAGE_SIZE;
use crate::mm::config::{SwapConfig, ThpMode};
use std::collections::BTreeMap;

/// Reads `node0/cpulist`: `0-3,8`.
pub fn cpulist(file: &str, text: &str) -> Result<Vec<u16>, ImportError> {
    let Some(line) = lines(file, text).next() else { return Ok(Vec::new()) };
    list(line.text).ok_or_else(|| {
        let advice = "A CPU list looks like 0-3,8 and names at most 8192 CPUs.";
        line.error("this is no list of CPUs").field("cpulist").advise(advice)
    })
}

/// Reads `node0/distance`: `10 20`.
pub fn distance(file: &str, text: &str) -> Result<Vec<u8>, ImportError> {
    let Some(line) = lines(file, text).next() else { return Ok(Vec::new()) };
    let one = |word| {
        let distance = line.number(word, "distance")?;
        u8::try_from(distance).map_err(|_| {
            let problem = format!("a distance of {distance} is beyond 255, which means unreachable");
            line.error(problem).advise("Local is 10, a neighbour usually 20.")
        })
    };
    line.words().map(one).collect()
}

/// Reads `enabled:[always] madvise never` among the files of /sys/kernel/mm: built in or not, and the mode.
pub fn thp(text: &str) -> Option<ThpMode> {
    const FILE: &str = "transparent_hugepage/enabled:";
    let line =
        lines("sys-kernel-mm", text).find_map(|l| l.text.find(FILE).map(|at| &l.text[at + FILE.len()..]))?;
    let chosen = line.split_once('[')?.1.split_once(']')?.0;
    ThpMode::from_name(chosen)
}

/// Reads the online nodes of `node-masks`: `online: 0-2`.
pub fn online_nodes(text: &str) -> Vec<u16> {
    let mut online = lines("node-masks", text).filter_map(|l| l.text.trim().strip_prefix("online:"));
    online.next().and_then(list).unwrap_or_default()
}

/// Reads /proc/swaps.
pub fn swaps(file: &str, text: &str) -> Result<Vec<SwapConfig>, ImportError> {
    let mut areas = Vec::new();
    for line in lines(file, text) {
        let words: Vec<&str> = line.words().collect();
        let [name, kind, size, _used, priority] = words[..] else { continue };
        if name == "Filename" || !matches!(kind, "partition" | "file") {
            continue;
        }
        let pages = line.number(size, "Size")? / (PAGE_SIZE / 1024);
        // Areas without a priority of their own get -2, -3, … from swapon (-1, -2, … before 4.13).
        let priority = priority.parse::<i16>().ok().filter(|&p| p >= 0);
        areas.push(SwapConfig { name: name.to_string(), pages, priority });
    }
    Ok(areas)
}

/// Reads `Name: 12 kB` of meminfo, or `name 12` of vmstat; what is not of that form is passed over.
pub fn counters(text: &str) -> BTreeMap<String, u64> {
    let mut found = BTreeMap::new();
    for line in lines("counters", text) {
        let mut words = line.words();
        if let (Some(name), Some(value)) = (words.next(), words.next())
            && let Ok(value) = value.parse()
        {
            found.insert(name.trim_end_matches(':').to_string(), value);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_files_are_read() {
        assert_eq!(cpulist("c", "0-1\n"), Ok(vec![0, 1]));
        assert_eq!(cpulist("c", "\n"), Ok(vec![]));
        assert!(cpulist("c", "all of them").unwrap_err().to_string().contains("no list of CPUs"));
        assert_eq!(distance("d", "10 20\n"), Ok(vec![10, 20]));
        assert!(distance("d", "10 300\n").is_err());
        assert_eq!(online_nodes("online: 0,2\npossible: 0-3\n"), [0, 2]);
        assert_eq!(
            thp("/sys/x/transparent_hugepage/enabled:always [madvise] never\n"),
            Some(ThpMode::Madvise)
        );
        assert_eq!(thp("/sys/x/transparent_hugepage/shmem_enabled:always [never]\n"), None);
        assert_eq!(counters("MemTotal:  12 kB\nnr_mapped 3\nx y\n")["MemTotal"], 12);
    }

    #[test]
    fn swap_areas_are_read() {
        let text = "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n/dev/vdb partition 524284 0 -2\n/swap file 4092 8 5\n";
        let areas = swaps("swaps", text).unwrap();
        assert_eq!((areas[0].pages, areas[0].priority), (131_071, None));
        assert_eq!((areas[1].pages, areas[1].priority), (1023, Some(5)));
    }
}
