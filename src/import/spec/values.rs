//! Values of a machine spec that can be written in more than one way.
//!
//! Fidelity: not of the kernel — sizes, lists and words as people write them.

use crate::import::text::list;
use crate::import::{layout, nearest};
use crate::mm::addr::{Order, PAGE_SIZE};
use crate::mm::config::{Arch, FreeBlocks, MigrateType, Stop, ThpMode, ZoneConfig};
use crate::mm::mm_init::CoreSize;
use crate::mm::slab_common::Allocator;
use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use std::fmt;

/// Bytes: `268435456`, `256M`, `1.5G`, `512 KiB`. Units are powers of 1024.
pub fn size(text: &str) -> Option<u64> {
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.' && c != '_').unwrap_or(text.len());
    let unit = text[digits..].trim().to_lowercase();
    let shift = match unit.trim_end_matches('b').trim_end_matches('i') {
        "" => 0,
        "k" => 10,
        "m" => 20,
        "g" => 30,
        "t" => 40,
        _ => return None,
    };
    let number = text[..digits].replace('_', "");
    if let Ok(whole) = number.parse::<u64>() {
        return whole.checked_mul(1 << shift);
    }
    let (whole, part) = number.split_once('.')?;
    let places = u32::try_from(part.len()).ok().filter(|p| (1..=6).contains(p))?;
    let whole = whole.parse::<u64>().ok()?.checked_mul(1 << shift)?;
    whole.checked_add(part.parse::<u64>().ok()?.checked_mul(1 << shift)? / 10u64.pow(places))
}

/// Bytes as a person writes them: `256M`; `None` when no unit divides them.
pub fn size_text(bytes: u64) -> String {
    let unit = [(40, "T"), (30, "G"), (20, "M"), (10, "K")]
        .into_iter()
        .find(|&(shift, _)| bytes > 0 && bytes.is_multiple_of(1 << shift));
    unit.map_or(bytes.to_string(), |(shift, unit)| format!("{}{unit}", bytes >> shift))
}

/// Implements `Deserialize` through a visitor of the given methods.
macro_rules! visit {
    ($type:ty, $expecting:literal, { $($method:item)* }) => {
        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Of;
                impl<'de> Visitor<'de> for Of {
                    type Value = $type;
                    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                        f.write_str($expecting)
                    }
                    $($method)*
                }
                deserializer.deserialize_any(Of)
            }
        }
    };
}

/// A size in bytes.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Size(pub u64);

visit!(Size, "a size such as \"256M\"", {
    fn visit_u64<E: Error>(self, bytes: u64) -> Result<Size, E> {
        Ok(Size(bytes))
    }
    fn visit_i64<E: Error>(self, bytes: i64) -> Result<Size, E> {
        u64::try_from(bytes).map(Size).map_err(|_| E::custom(format!("a size of {bytes} bytes is negative")))
    }
    fn visit_str<E: Error>(self, text: &str) -> Result<Size, E> {
        size(text)
            .map(Size)
            .ok_or_else(|| E::custom(format!("{text:?} is no size; write it as \"256M\" or \"4G\"")))
    }
});

/// A page count or address in decimal or, as text, in hex: `4096`, `"0x1000"`.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct Number(pub u64);

fn number(text: &str) -> Option<u64> {
    let text = text.trim();
    text.strip_prefix("0x").map_or_else(|| text.parse().ok(), |hex| u64::from_str_radix(hex, 16).ok())
}

visit!(Number, "a number", {
    fn visit_u64<E: Error>(self, n: u64) -> Result<Number, E> {
        Ok(Number(n))
    }
    fn visit_i64<E: Error>(self, n: i64) -> Result<Number, E> {
        u64::try_from(n).map(Number).map_err(|_| E::custom(format!("{n} is negative")))
    }
    fn visit_str<E: Error>(self, text: &str) -> Result<Number, E> {
        number(text).map(Number).ok_or_else(|| E::custom(format!("{text:?} is no number")))
    }
});

/// CPUs: how many (`2`), or which (`[0, 1]`, `"0-3,8"`).
#[derive(Clone, PartialEq, Debug)]
pub enum Cpus {
    /// So many.
    Count(u64),
    /// These.
    List(Vec<u16>),
}

visit!(Cpus, "a number of CPUs, or a list such as \"0-3\"", {
    fn visit_u64<E: Error>(self, count: u64) -> Result<Cpus, E> {
        Ok(Cpus::Count(count))
    }
    fn visit_i64<E: Error>(self, count: i64) -> Result<Cpus, E> {
        Err(E::custom(format!("{count} CPUs are too few")))
    }
    fn visit_str<E: Error>(self, text: &str) -> Result<Cpus, E> {
        list(text)
            .map(Cpus::List)
            .ok_or_else(|| E::custom(format!("{text:?} is no list of CPUs; write \"0-3,8\"")))
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Cpus, A::Error> {
        let mut cpus = Vec::new();
        while let Some(cpu) = seq.next_element()? {
            cpus.push(cpu);
        }
        Ok(Cpus::List(cpus))
    }
});

/// A range of missing frames, as text with both ends in it: `0x9f-0xff`.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Hole {
    /// The first frame.
    pub first: u64,
    /// How many.
    pub length: u64,
}

visit!(Hole, "a range of frames such as \"0x9f-0xff\"", {
    fn visit_str<E: Error>(self, text: &str) -> Result<Hole, E> {
        let ends = text.split_once('-').and_then(|(first, last)| Some((number(first)?, number(last)?)));
        match ends {
            Some((first, last)) if first <= last && last < u64::MAX => {
                Ok(Hole { first, length: last - first + 1 })
            }
            _ => Err(E::custom(format!(
                "{text:?} is no range of frames; write \"0x9f-0xff\", the last one included"
            ))),
        }
    }
});

/// A word of the spec that is a value of the simulator.
macro_rules! word {
    ($name:ident, $of:ty, $what:literal, $from:expr, $all:expr) => {
        #[doc = concat!("The name of ", $what, ".")]
        #[derive(Clone, Copy, PartialEq, Debug)]
        pub struct $name(pub $of);

        visit!($name, $what, {
            fn visit_str<E: Error>(self, text: &str) -> Result<$name, E> {
                let from: fn(&str) -> Option<$of> = $from;
                from(text).map($name).ok_or_else(|| {
                    let all: Vec<&str> = $all;
                    let mut problem = format!("{text:?} is no {}; there are {}", $what, all.join(", "));
                    if let Some(meant) = nearest(text, all) {
                        problem += &format!(". Did you mean {meant}?");
                    }
                    E::custom(problem)
                })
            }
        });
    };
}

word!(
    ArchName,
    Arch,
    "architecture",
    |text| Arch::ALL.iter().copied().find(|a| a.name() == text),
    Arch::ALL.iter().map(|a| a.name()).collect()
);
word!(
    Thp,
    Option<ThpMode>,
    "mode of transparent huge pages",
    |text| if text == "absent" { Some(None) } else { ThpMode::from_name(text).map(Some) },
    vec!["always", "madvise", "never", "absent"]
);
word!(
    TypeName,
    MigrateType,
    "migratetype",
    MigrateType::from_name,
    MigrateType::ALL.iter().map(|m| m.name()).collect()
);

word!(
    StopName,
    Stop,
    "place to stop a boot",
    |text| (text == "memblock").then_some(Stop::Memblock),
    vec!["memblock"]
);
word!(
    AllocatorName,
    Allocator,
    "allocator of slab caches",
    Allocator::from_name,
    Allocator::ALL.iter().map(|a| a.name()).collect()
);
word!(Debug, bool, "mode of memblock", |text| (text == "debug").then_some(true), vec!["debug"]);

/// An amount as `kernelcore=` and `movablecore=` take it: a size, or a percentage of all memory.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Amount(pub CoreSize);

visit!(Amount, "a size such as \"256M\", or a percentage such as \"25%\"", {
    fn visit_u64<E: Error>(self, bytes: u64) -> Result<Amount, E> {
        Ok(Amount(CoreSize::bytes(bytes)))
    }
    fn visit_i64<E: Error>(self, bytes: i64) -> Result<Amount, E> {
        let bytes =
            u64::try_from(bytes).map_err(|_| E::custom(format!("a size of {bytes} bytes is negative")))?;
        Ok(Amount(CoreSize::bytes(bytes)))
    }
    fn visit_str<E: Error>(self, text: &str) -> Result<Amount, E> {
        if text == "mirror" {
            return Err(E::custom(
                "\"mirror\" needs memory that the firmware calls mirrored, and no machine here has any; write a size or a percentage",
            ));
        }
        let percent =
            text.strip_suffix('%').map(|n| n.trim().parse::<u64>().ok().filter(|n| (1..=100).contains(n)));
        let amount = match percent {
            Some(percent) => percent.map(CoreSize::Percent),
            None => size(text).map(CoreSize::bytes),
        };
        amount.map(Amount).ok_or_else(|| {
            E::custom(format!("{text:?} is no amount of memory; write \"256M\", or \"25%\" (1 to 100)"))
        })
    }
});

/// Free pages of a zone.
#[derive(Clone, PartialEq, Debug)]
pub enum Free {
    /// So many, in the largest blocks.
    Pages(u64),
    /// Every managed page.
    All,
    /// Blocks of each order, by migratetype.
    Blocks(Box<[FreeBlocks; MigrateType::COUNT]>),
}

impl Free {
    /// Puts the free pages into the zone.
    pub fn apply(&self, zone: &mut ZoneConfig, pageblock: Order) {
        match self {
            Free::Pages(pages) => layout::fill(zone, *pages, zone.cma.min(*pages), pageblock),
            Free::All => layout::fill(zone, zone.managed, zone.cma.min(zone.managed), pageblock),
            Free::Blocks(blocks) => zone.free = **blocks,
        }
    }
}

visit!(Free, "\"all\", a number of pages, 11 numbers of blocks, or those of each migratetype", {
    fn visit_u64<E: Error>(self, pages: u64) -> Result<Free, E> {
        Ok(Free::Pages(pages))
    }
    fn visit_str<E: Error>(self, text: &str) -> Result<Free, E> {
        match text {
            "all" => Ok(Free::All),
            "none" => Ok(Free::Pages(0)),
            _ => Err(E::custom(format!("{text:?} is no number of free pages; write \"all\", or a number"))),
        }
    }
    fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<Free, A::Error> {
        let mut blocks = <[FreeBlocks; MigrateType::COUNT]>::default();
        blocks[MigrateType::Movable.index()].blocks =
            <[u64; Order::COUNT]>::deserialize(serde::de::value::SeqAccessDeserializer::new(seq))?;
        Ok(Free::Blocks(Box::new(blocks)))
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Free, A::Error> {
        let mut blocks = <[FreeBlocks; MigrateType::COUNT]>::default();
        while let Some((TypeName(kind), counts)) = map.next_entry::<TypeName, [u64; Order::COUNT]>()? {
            blocks[kind.index()].blocks = counts;
        }
        Ok(Free::Blocks(Box::new(blocks)))
    }
});

/// Numbers by migratetype.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct ByType(pub [u64; MigrateType::COUNT]);

visit!(ByType, "numbers by migratetype", {
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<ByType, A::Error> {
        let mut numbers = ByType::default();
        while let Some((TypeName(kind), count)) = map.next_entry()? {
            numbers.0[kind.index()] = count;
        }
        Ok(numbers)
    }
});

/// Names and values in the order they were written; values are text, whatever YAML takes them for.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Settings(pub Vec<(String, String)>);

visit!(Settings, "settings such as `vm.swappiness: 10`", {
    fn visit_unit<E: Error>(self) -> Result<Settings, E> {
        Ok(Settings::default())
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Settings, A::Error> {
        let mut settings = Settings::default();
        while let Some((name, Text(value))) = map.next_entry()? {
            settings.0.push((name, value));
        }
        Ok(settings)
    }
});

/// A text, also when it looks like a number: `kernel: 6.1`.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Text(pub String);

visit!(Text, "a word or a number", {
    fn visit_str<E: Error>(self, text: &str) -> Result<Text, E> {
        Ok(Text(text.to_string()))
    }
    fn visit_u64<E: Error>(self, n: u64) -> Result<Text, E> {
        Ok(Text(n.to_string()))
    }
    fn visit_i64<E: Error>(self, n: i64) -> Result<Text, E> {
        Ok(Text(n.to_string()))
    }
    fn visit_f64<E: Error>(self, n: f64) -> Result<Text, E> {
        Ok(Text(n.to_string()))
    }
    fn visit_bool<E: Error>(self, yes: bool) -> Result<Text, E> {
        Ok(Text(u8::from(yes).to_string()))
    }
});

/// Slots of a swap area of so many bytes: the first page is its header.
pub fn slots(bytes: u64) -> u64 {
    (bytes / PAGE_SIZE).saturating_sub(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_written_as_people_write_them() {
        let sizes = [
            ("256M", 256 << 20),
            ("1.5G", 3 << 29),
            ("4096", 4096),
            ("512 KiB", 512 << 10),
            ("1tb", 1 << 40),
        ];
        for (text, bytes) in sizes {
            assert_eq!(size(text), Some(bytes), "{text}");
        }
        for text in ["", "M", "-1", "1X", "99999999999999999999T", "1.2.3G", "1e9", "16777216T"] {
            assert_eq!(size(text), None, "{text}");
        }
        assert_eq!((size_text(256 << 20), size_text(1000)), ("256M".into(), "1000".into()));
    }
}
