//! Areas of vmalloc that were there after boot: from /proc/vmallocinfo, and as lines of a spec.
//!
//! ```text
//!   0x(ptrval)-0x(ptrval)   20480 kernel_clone+0xbf/0x430 pages=4 vmalloc N0=4      as captured
//!   20480 kernel_clone+0xbf/0x430 pages=4 vmalloc N0=4                              as a line of a spec
//! ```
//!
//! Kernel: `mm/vmalloc.c` (`s_show`).
//! Fidelity: imported — sizes, callers, kinds, pages and their nodes. Absent — addresses, which captures hide; ranges that
//! waited for a purge.

use crate::mm::addr::{Nid, PAGE_SIZE};
use crate::mm::config::VmAreaConfig;
use crate::mm::vmalloc::AreaFlags;

/// Areas of a capture in the order of their addresses.
pub fn parse(text: &str) -> Vec<VmAreaConfig> {
    let rows = text.lines().filter_map(|line| line.split_once(char::is_whitespace));
    rows.filter_map(|(_, row)| from_line(row)).collect()
}

/// Areas of a spec.
///
/// # Errors
/// The first line that is none.
pub fn from_lines(text: &str) -> Result<Vec<VmAreaConfig>, String> {
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    lines.map(|line| from_line(line).ok_or_else(|| line.to_string())).collect()
}

fn from_line(line: &str) -> Option<VmAreaConfig> {
    let mut words = line.split_whitespace();
    let size = words.next()?.parse().ok()?;
    let caller = words.next()?.to_string();
    let mut area = VmAreaConfig { size, caller, ..VmAreaConfig::default() };
    for word in words {
        if let Some((_, flag)) = AreaFlags::NAMES.iter().map(|(f, name)| (name, f)).find(|(n, _)| **n == word)
        {
            area.flags.0 |= flag.0;
        } else if word == "vpages" {
            area.vpages = true;
        } else {
            let (key, value) = word.split_once('=')?;
            match key {
                "pages" => area.pages = value.parse().ok()?,
                "phys" => area.phys = Some(u64::from_str_radix(value.strip_prefix("0x")?, 16).ok()?),
                node => area.nodes.push((Nid(node.strip_prefix('N')?.parse().ok()?), value.parse().ok()?)),
            }
        }
    }
    let whole = |bytes: u64| bytes > 0 && bytes.is_multiple_of(PAGE_SIZE);
    let fits = area.pages <= size / PAGE_SIZE && area.phys.is_none_or(|phys| phys.is_multiple_of(PAGE_SIZE));
    let dealt: u64 = area.nodes.iter().fold(0, |sum, (_, pages)| sum.saturating_add(*pages));
    // An area without a kind is one that waits for its purge.
    let kind = area.flags.0 != 0;
    (whole(size) && fits && kind && (area.nodes.is_empty() || dealt == area.pages)).then_some(area)
}

/// An area as a line of a spec.
pub fn line(area: &VmAreaConfig) -> String {
    let mut text = format!("{} {}", area.size, area.caller);
    if area.pages > 0 {
        text += &format!(" pages={}", area.pages);
    }
    if let Some(phys) = area.phys {
        text += &format!(" phys={phys:#x}");
    }
    for (flag, name) in AreaFlags::NAMES {
        if area.flags.has(*flag) {
            text += &format!(" {name}");
        }
    }
    if area.vpages {
        text += " vpages";
    }
    area.nodes.iter().for_each(|(nid, pages)| text += &format!(" N{nid}={pages}"));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_capture_becomes_lines_and_lines_areas() {
        let capture = "0x(ptrval)-0x(ptrval)   20480 kernel_clone+0xbf/0x430 pages=4 vmalloc N0=2 N1=2\n\
                       0x00000000a-0x00000000b    8192 hpet_enable+0xef/0x46d phys=0x00000000fed00000 ioremap\n\
                       0x00000000a-0x00000000b   20480 unpurged vm_area\n";
        let areas = parse(capture);
        let lines: Vec<String> = areas.iter().map(line).collect();
        assert_eq!(
            lines,
            [
                "20480 kernel_clone+0xbf/0x430 pages=4 vmalloc N0=2 N1=2",
                "8192 hpet_enable+0xef/0x46d phys=0xfed00000 ioremap"
            ]
        );
        assert_eq!(from_lines(&lines.join("\n")), Ok(areas));
    }

    #[test]
    fn what_is_no_area_is_refused() {
        for wrong in
            ["", "x y", "8192 f", "8191 f vmalloc", "8192 f pages=9 vmalloc", "8192 f pages=2 vmalloc N0=1"]
        {
            assert!(from_line(wrong).is_none(), "{wrong}");
        }
        assert_eq!(from_lines("8192 f vmalloc\n4096 g what"), Err("4096 g what".to_string()));
    }
}
