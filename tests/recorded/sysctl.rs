//! Sweeps over the tunables of four machines: every row is recomputed.
//!
//! The steps are those that made the recordings, with the restores that were not recorded. A sweep comes from another
//! boot than the captured one, with an initrd of another size: the first rows, which still depend on it, are replayed on
//! a variant of the machine whose initrd stands in [`VARIANTS`]; all others on the captured machine as it is.

use crate::truth::{self, recordings, truth};
use std::collections::BTreeMap;
use std::fs;
use vmlab::import::folder;
use vmlab::mm::config::{Config, ThpMode};
use vmlab::mm::machine::Machine;
use vmlab::mm::mmzone::Wmark;

/// Inferred: pages of the initrd of the boot a recording comes from. The captured boots had 416 (i386-2G: 380).
///
/// The first rows allow 482 to 507 for the sweeps on amd64, 563 to 618 for thp-untouched there, 544 to 557 on i386.
const VARIANTS: &[(&str, &str, u64)] = &[
    ("x86_64-256M", "sweep", 490),
    ("x86_64-1G", "sweep", 490),
    ("x86_64-numa2", "sweep", 490),
    ("x86_64-256M", "thp-untouched", 590),
    ("x86_64-1G", "thp-untouched", 590),
    ("i386-2G", "sweep", 550),
    ("i386-2G", "thp-untouched", 550),
];

/// One `show` of a recording: what is compared of each zone, and of the machine.
#[derive(Clone, PartialEq, Debug, Default)]
struct Row {
    label: String,
    zones: BTreeMap<String, String>,
    totals: BTreeMap<&'static str, u64>,
}

/// A sweep's rows; a line of totals ends a row.
fn sweep(text: &str) -> (Vec<Row>, Vec<BTreeMap<String, u64>>) {
    let (mut rows, mut all) = (Vec::new(), Vec::new());
    let mut row = Row::default();
    for line in text.lines().filter(|l| !l.starts_with('#')) {
        let parts: Vec<String> =
            line.split('|').map(|p| p.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
        row.label = parts[0].clone();
        if let [_, place, marks, spans, protection, pcp] = &parts[..] {
            let marks = &marks[marks.find("min").unwrap_or(0)..];
            row.zones.insert(place.clone(), format!("{marks} | {spans} | {protection} | {pcp}"));
            continue;
        }
        let totals = pairs(&parts[1]);
        row.totals.insert("min_free_kbytes", totals["min_free_kbytes"]);
        row.totals.insert("MemTotal", totals["MemTotal:"]);
        row.totals.insert("CommitLimit", totals["CommitLimit:"]);
        all.push(totals);
        rows.push(std::mem::take(&mut row));
    }
    (rows, all)
}

fn pairs(text: &str) -> BTreeMap<String, u64> {
    let words: Vec<&str> = text.split_whitespace().collect();
    words.chunks_exact(2).filter_map(|pair| Some((pair[0].to_string(), pair[1].parse().ok()?))).collect()
}

/// What the machine shows now, in the words of the recording. `hugetlb` is recorded: huge pages are not replayed.
fn show(machine: &Machine, label: &str, hugetlb: u64) -> Row {
    let mut row = Row { label: label.to_string(), ..Row::default() };
    for zone in machine.zones.iter().filter(|z| z.is_populated()) {
        let kinds = machine.config.arch.zone_types();
        let protection: Vec<String> =
            kinds.iter().map(|k| zone.lowmem_reserve[*k as usize].to_string()).collect();
        let pcp = &zone.pageset[0];
        let text = format!(
            "min {} low {} high {} | spanned {} present {} managed {} | protection ({}) | pcp high {} batch {}",
            zone.wmark(Wmark::Min),
            zone.wmark(Wmark::Low),
            zone.wmark(Wmark::High),
            zone.spanned_pages,
            zone.present_pages,
            zone.managed_pages,
            protection.join(", "),
            pcp.high,
            pcp.batch
        );
        row.zones.insert(format!("node {} {}", zone.node, zone.kind), text);
    }
    let ram = machine.totalram_pages();
    let limit = match machine.sysctl.overcommit_kbytes {
        0 => (ram - hugetlb / 4) * machine.sysctl.overcommit_ratio / 100 * 4,
        kbytes => kbytes / 4 * 4,
    };
    row.totals.insert("min_free_kbytes", machine.sysctl.min_free_kbytes);
    row.totals.insert("MemTotal", ram * 4);
    row.totals.insert("CommitLimit", limit);
    row
}

fn set(machine: &mut Machine, name: &str, value: &str) {
    machine.set_sysctl(name, value).unwrap_or_else(|e| panic!("{name}={value}: {e}"));
}

fn thp(machine: &mut Machine, mode: &str) {
    machine.set_thp(ThpMode::from_name(mode).unwrap_or_else(|| panic!("{mode}")));
}

/// Does the step a label names, after what the recording's script restored since the last one.
fn step(machine: &mut Machine, last: &str, label: &str, default: &str, boot_thp: &str) {
    let kind = |label: &str| label.split(['=', ' ']).next().unwrap_or("").to_string();
    let (from, to) = (kind(last), kind(label));
    let was = |words: &str| last.contains(words);
    if was("scale=100") {
        set(machine, "watermark_scale_factor", "10");
        set(machine, "min_free_kbytes", default);
        let _ = machine.sysctl("lowmem_reserve_ratio");
    }
    if was("then thp=always") {
        thp(machine, boot_thp);
        set(machine, "min_free_kbytes", default);
    }
    if from != to {
        match from.as_str() {
            "watermark_boost_factor" => set(machine, "watermark_boost_factor", "15000"),
            "dirty_background_ratio" => {
                set(machine, "dirty_background_ratio", "10");
                set(machine, "dirty_ratio", "20");
            }
            "overcommit_ratio" | "overcommit_kbytes" => set(machine, "overcommit_ratio", "50"),
            _ => {}
        }
    }
    if label == "boot" {
        return;
    }
    if label.starts_with("after reading") {
        let _ = machine.sysctl("lowmem_reserve_ratio");
        return;
    }
    if let Some((_, mode)) = label.split_once(" then thp=") {
        if mode == "never" {
            set(machine, "min_free_kbytes", "4096");
        }
        return thp(machine, mode);
    }
    let (name, rest) = label.split_once('=').unwrap_or((label, ""));
    let value = rest.split(' ').next().unwrap_or("");
    match name {
        "thp" => thp(machine, value),
        "lowmem_reserve_ratio" => set(machine, name, &value.replace(',', " ")),
        "dirty_background_ratio" => {
            set(machine, name, value);
            set(machine, "dirty_ratio", rest.split_once("dirty_ratio=").expect("two ratios").1);
        }
        "nr_hugepages" => {}
        _ => {
            set(machine, name, value);
            if rest.contains("scale=100") {
                set(machine, "watermark_scale_factor", "100");
            }
        }
    }
}

fn captured(name: &str) -> Config {
    let captures = folder::Captures::read(&truth().join("boot").join(name)).unwrap_or_else(|e| panic!("{e}"));
    folder::machine(name, &captures).unwrap_or_else(|e| panic!("{e}"))
}

/// The captured machine with the initrd of the boot that `recording` comes from.
fn variant(name: &str, recording: &str) -> Machine {
    let mut config = captured(name);
    if let Some((.., pages)) = VARIANTS.iter().find(|(on, of, _)| (*on, *of) == (name, recording)) {
        let initrd = config.late_freed.iter_mut().find(|l| l.what == "initrd").expect("an initrd");
        initrd.pages = *pages;
    }
    Machine::boot(config).unwrap_or_else(|e| panic!("{name}: {e}"))
}

/// The first difference of two rows, as want and got.
fn difference(want: &Row, got: &Row) -> Option<String> {
    for (place, numbers) in &want.zones {
        let got = got.zones.get(place).map_or("no such zone", String::as_str);
        if numbers != got {
            return Some(format!("{}: {place}: want {numbers}, got {got}", want.label));
        }
    }
    let other = want.totals.iter().find(|(name, value)| got.totals.get(*name) != Some(value));
    other.map(|(name, value)| format!("{}: {name}: want {value}, got {:?}", want.label, got.totals.get(name)))
}

#[test]
fn every_row_of_a_sweep_is_recomputed() {
    let folder = truth().join("sysctl");
    let mut report = truth::Report::default();
    let (mut count, mut thresholds) = (0, (0, 0));
    for name in recordings(&folder) {
        let Ok(text) = fs::read_to_string(folder.join(&name).join("sweep.txt")) else { continue };
        let (rows, totals) = sweep(&text);
        let default = rows.iter().find_map(|r| r.label.strip_suffix(" (default again)")?.split_once('='));
        let default = default.expect("the default is restored").1.to_string();
        let thp =
            rows.iter().find_map(|r| r.label.split_once("(boot: ")?.1.strip_suffix(')')).unwrap_or("never");
        let thp = thp.to_string();
        let first_write = rows.iter().position(|r| r.label.starts_with("min_free_kbytes=")).unwrap_or(0);
        // Both machines take every step; before the first write the variant counts, then the captured one.
        let mut early = variant(&name, "sweep");
        let mut machine = Machine::boot(captured(&name)).unwrap_or_else(|e| panic!("{name}: {e}"));
        let mut last = String::new();
        let mut wrong = None;
        for (at, (row, totals)) in rows.iter().zip(&totals).enumerate() {
            for machine in [&mut early, &mut machine] {
                step(machine, &last, &row.label, &default, &thp);
            }
            last = row.label.clone();
            let counts = if at < first_write { &early } else { &machine };
            let hugetlb = totals.get("Hugetlb:").copied().unwrap_or(0);
            wrong = wrong.or(difference(row, &show(counts, &row.label, hugetlb)));
            count += row.zones.len();
            if !machine.config.arch.has_highmem() {
                thresholds.0 += usize::from(dirty_thresholds(counts, totals));
                thresholds.1 += 1;
            }
        }
        report.on(&format!("{name}/sweep ({} rows)", rows.len()), wrong);
    }
    println!(
        "zone lines: {count}; dirty thresholds of recorded free pages: {} of {}",
        thresholds.0, thresholds.1
    );
    // The rest moved pages to or from the per-CPU lists between two reads of /proc.
    assert!(thresholds.0 * 100 >= thresholds.1 * 93, "{thresholds:?}");
    report.finish("sweeps");
}

/// True when the recorded thresholds follow from the recorded free pages and the machine's reserves and ratios.
fn dirty_thresholds(machine: &Machine, totals: &BTreeMap<String, u64>) -> bool {
    let free = totals["nr_free_pages"];
    let file = totals["nr_zone_inactive_file"] + totals["nr_zone_active_file"];
    let available = free - free.min(machine.totalreserve_pages) + file + 1;
    let part = |ratio: u64| ratio * 4096 / 100 * available / 4096;
    let limit = part(machine.sysctl.dirty_ratio);
    let background = part(machine.sysctl.dirty_background_ratio);
    let background = if background >= limit { limit / 2 } else { background };
    (totals["nr_dirty_threshold"], totals["nr_dirty_background_threshold"]) == (limit, background)
}

#[test]
fn huge_pages_raise_and_lower_what_nobody_wrote() {
    let folder = truth().join("sysctl");
    let mut report = truth::Report::default();
    for name in recordings(&folder) {
        let Ok(text) = fs::read_to_string(folder.join(&name).join("thp-untouched.txt")) else { continue };
        let mut machine = variant(&name, "thp-untouched");
        let (log, rows): (Vec<&str>, Vec<&str>) = text.lines().partition(|l| l.starts_with('['));
        let mut wrong = None;
        for (at, row) in rows.iter().enumerate() {
            let (label, numbers) = row.split_once(": ").unwrap_or((row, ""));
            if at == 1 {
                // From the first switch on nothing depends on the initrd: the captured machine goes on.
                machine = Machine::boot(captured(&name)).unwrap_or_else(|e| panic!("{name}: {e}"));
            }
            if let Some(mode) = label.strip_prefix("thp=") {
                thp(&mut machine, mode);
            } else if let Some(value) = label.strip_prefix("user writes ") {
                set(&mut machine, "min_free_kbytes", value);
            }
            let (want, got) = (numbers.trim(), untouched(&machine));
            if want != got {
                wrong = wrong.or(Some(format!("{label}: want {want}, got {got}")));
            }
        }
        let said: Vec<&str> =
            machine.log().map(|l| l.text.as_str()).filter(|l| l.contains("min_free_kbytes")).collect();
        let want: Vec<&str> = log.iter().filter_map(|l| Some(l.split_once("] ")?.1)).collect();
        if said != want {
            wrong = wrong.or(Some(format!("log: want {want:?}, got {said:?}")));
        }
        report.on(&format!("{name}/thp-untouched ({} rows)", rows.len()), wrong);
    }
    report.finish("huge pages");
}

/// A row of thp-untouched: the modes with the present one in brackets, and the populated zones.
fn untouched(machine: &Machine) -> String {
    let modes = [ThpMode::Always, ThpMode::Madvise, ThpMode::Never];
    let modes: Vec<String> = modes
        .iter()
        .map(|m| if *m == machine.thp { format!("[{}]", m.name()) } else { m.name().into() })
        .collect();
    let zone = |z: &vmlab::mm::mmzone::Zone| {
        let marks = (z.wmark(Wmark::Min), z.wmark(Wmark::Low), z.wmark(Wmark::High));
        format!(
            " | {},{} min {} low {} high {} managed {}",
            z.node, z.kind, marks.0, marks.1, marks.2, z.managed_pages
        )
    };
    let zones: String = machine.zones.iter().filter(|z| z.is_populated()).map(zone).collect();
    format!("min_free_kbytes {} thp {}{zones}", machine.sysctl.min_free_kbytes, modes.join(" "))
}
