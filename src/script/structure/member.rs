//! Members of structures: how they are found by name, and how crash writes them.

use crate::script::answer::{ScriptResult, misuse};
use crate::script::suggest;
use crate::script::table::{Cell, Record};
use std::borrow::Cow;

/// How numbers are written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Radix {
    /// As crash does unless told otherwise.
    Decimal,
    /// With `-x`.
    Hex,
}

impl Radix {
    fn number(self, n: i128) -> String {
        match self {
            Radix::Hex if n < 0 => format!("{:#x}", n as i32),
            Radix::Hex => format!("{n:#x}"),
            Radix::Decimal => n.to_string(),
        }
    }
}

/// What a member holds.
#[derive(Clone, PartialEq, Debug)]
pub enum Value {
    /// A number.
    Number(u64),
    /// A number that may be negative.
    Signed(i64),
    /// An address that the kernel keeps as a plain number.
    Address(u64),
    /// A pointer.
    Pointer(u64),
    /// An `atomic_t`.
    Counter(i64),
    /// Characters.
    Text(String),
    /// A truth value.
    Flag(bool),
    /// A structure inside, or a union.
    Group(Vec<Member>),
    /// An array.
    Array(Vec<Value>),
}

/// A member: its name, how C declares it, where it stands on x86_64, and what it holds.
#[derive(Clone, PartialEq, Debug)]
pub struct Member {
    /// Its name; empty for an anonymous structure or union.
    pub name: Cow<'static, str>,
    declared: String,
    offset: Option<u32>,
    /// What it holds.
    pub value: Value,
}

/// A member of a declared type: `("unsigned long", "flags")`.
pub fn member(declared: impl Into<String>, name: &'static str, offset: u32, value: Value) -> Member {
    Member { name: name.into(), declared: declared.into(), offset: Some(offset), value }
}

/// The same, when its offset is not known.
pub fn somewhere(declared: impl Into<String>, name: &'static str, value: Value) -> Member {
    Member { name: name.into(), declared: declared.into(), offset: None, value }
}

/// An anonymous structure or union.
pub fn anonymous(kind: &'static str, members: Vec<Member>) -> Member {
    Member { name: "".into(), declared: kind.into(), offset: None, value: Value::Group(members) }
}

/// A `list_head`.
pub fn list(next: u64, prev: u64) -> Value {
    Value::Group(vec![
        somewhere("struct list_head *", "next", Value::Pointer(next)),
        somewhere("struct list_head *", "prev", Value::Pointer(prev)),
    ])
}

/// The members that were asked for with the depth at which they stand; all of them without a name.
pub fn choose(members: &[Member], structure: &str, paths: &[&str]) -> ScriptResult<Vec<(usize, Member)>> {
    if paths.is_empty() {
        return Ok(members.iter().map(|member| (1, member.clone())).collect());
    }
    let mut chosen = Vec::new();
    for path in paths {
        match find(members, path, 1) {
            Some((depth, found)) => chosen.push((depth, found)),
            None => {
                let names = names(members);
                let near = suggest::nearest(path, names.iter().copied());
                let near = near.first().map(|near| format!("; did you mean {near}?"));
                let near = near.unwrap_or_else(|| format!("; it has {} here", names.join(", ")));
                return misuse(format!(
                    "struct: invalid data structure member reference: {structure}.{path}{near}"
                ));
            }
        }
    }
    Ok(chosen)
}

/// A member by its path: `lru.next`, `free_area[10].nr_free`; anonymous structures are looked into.
fn find(members: &[Member], path: &str, depth: usize) -> Option<(usize, Member)> {
    let (first, rest) = path.split_once('.').map_or((path, None), |(first, rest)| (first, Some(rest)));
    let (name, index) = match first.split_once('[') {
        Some((name, index)) => (name, Some(index.strip_suffix(']')?.parse::<usize>().ok()?)),
        None => (first, None),
    };
    for member in members {
        if let (true, Value::Group(inner)) = (member.name.is_empty(), &member.value)
            && let Some(found) = find(inner, path, depth + 1)
        {
            return Some(found);
        }
        if member.name != name {
            continue;
        }
        let value = match (&member.value, index) {
            (Value::Array(values), Some(index)) => values.get(index)?.clone(),
            (_, Some(_)) => return None,
            (value, None) => value.clone(),
        };
        return match (rest, value) {
            (None, value) => {
                Some((depth, Member { name: first.to_string().into(), value, ..member.clone() }))
            }
            (Some(rest), Value::Group(inner)) => {
                let (depth, found) = find(&inner, rest, depth)?;
                Some((depth, Member { name: format!("{first}.{}", found.name).into(), ..found }))
            }
            (Some(_), _) => None,
        };
    }
    None
}

fn names(members: &[Member]) -> Vec<&str> {
    let mut names = Vec::new();
    for member in members {
        match &member.value {
            Value::Group(inner) if member.name.is_empty() => names.extend(self::names(inner)),
            _ => names.push(&*member.name),
        }
    }
    names
}

/// The members as crash writes them: a whole structure in its braces, or those chosen, each as deep as it stands.
pub fn lines(structure: &str, chosen: &[(usize, Member)], whole: bool, radix: Radix) -> Vec<String> {
    let mut lines = Vec::new();
    if whole {
        lines.push(format!("struct {structure} {{"));
    }
    for (n, (depth, member)) in chosen.iter().enumerate() {
        let last = n + 1 == chosen.len();
        write(&mut lines, member, *depth, radix, if last { "" } else { "," });
    }
    if whole {
        lines.push("}".into());
    }
    lines
}

fn write(lines: &mut Vec<String>, member: &Member, depth: usize, radix: Radix, end: &str) {
    let pad = "  ".repeat(depth);
    let head = if member.name.is_empty() { String::new() } else { format!("{} = ", member.name) };
    match &member.value {
        Value::Group(inner) => {
            lines.push(format!("{pad}{head}{{"));
            for (n, below) in inner.iter().enumerate() {
                write(lines, below, depth + 1, radix, if n + 1 == inner.len() { "" } else { "," });
            }
            lines.push(format!("{pad}}}{end}"));
        }
        Value::Counter(n) => {
            lines.push(format!("{pad}{head}{{"));
            lines.push(format!("{pad}  counter = {}", radix.number((*n).into())));
            lines.push(format!("{pad}}}{end}"));
        }
        // Structures in an array stand in braces that share their lines.
        Value::Array(values) if values.iter().any(|v| matches!(v, Value::Group(_) | Value::Counter(_))) => {
            lines.push(format!("{pad}{head}{{{{"));
            for (n, value) in values.iter().enumerate() {
                if n > 0 {
                    lines.push(format!("{pad}  }}, {{"));
                }
                let counter = |n: &i64| vec![somewhere("int", "counter", Value::Signed(*n))];
                let inner = match value {
                    Value::Group(inner) => inner.clone(),
                    Value::Counter(n) => counter(n),
                    other => vec![somewhere("", "", other.clone())],
                };
                for (n, below) in inner.iter().enumerate() {
                    write(lines, below, depth + 2, radix, if n + 1 == inner.len() { "" } else { "," });
                }
            }
            lines.push(format!("{pad}  }}}}{end}"));
        }
        plain => lines.push(format!("{pad}{head}{}{end}", text(plain, radix))),
    }
}

/// A value that fits on a line.
fn text(value: &Value, radix: Radix) -> String {
    match value {
        Value::Number(n) | Value::Address(n) => radix.number((*n).into()),
        Value::Signed(n) | Value::Counter(n) => radix.number((*n).into()),
        Value::Pointer(addr) => format!("{addr:#x}"),
        Value::Text(text) => format!("{text:?}"),
        Value::Flag(yes) => yes.to_string(),
        Value::Array(values) => {
            let shown: Vec<String> = values.iter().map(|value| text(value, radix)).collect();
            format!("{{{}}}", shown.join(", "))
        }
        Value::Group(_) => "{...}".into(),
    }
}

/// The members as a row: anonymous structures are no level of their own, a counter is its number.
pub fn record(chosen: &[(usize, Member)]) -> Record {
    let mut record = Record::new();
    for (_, member) in chosen {
        add(&mut record, member);
    }
    record
}

fn add(record: &mut Record, member: &Member) {
    match &member.value {
        Value::Group(inner) if member.name.is_empty() => inner.iter().for_each(|below| add(record, below)),
        value => record.push((member.name.to_string(), cell(value))),
    }
}

fn cell(value: &Value) -> Cell {
    match value {
        Value::Number(n) => (*n).into(),
        Value::Signed(n) | Value::Counter(n) => Cell::Int(*n),
        Value::Address(addr) | Value::Pointer(addr) => Cell::Addr(*addr),
        Value::Text(text) => text.as_str().into(),
        Value::Flag(yes) => (*yes).into(),
        Value::Array(values) => Cell::List(values.iter().map(cell).collect()),
        Value::Group(inner) => Cell::List(inner.iter().map(|below| cell(&below.value)).collect()),
    }
}

impl Member {
    /// Is it known where it stands?
    pub fn has_offset(&self) -> bool {
        match &self.value {
            Value::Group(inner) if self.name.is_empty() => inner.iter().all(Member::has_offset),
            _ => self.offset.is_some(),
        }
    }

    /// Its declaration in C; with a width, behind its offset.
    pub fn declaration(&self, width: Option<usize>, depth: usize) -> Vec<String> {
        let pad = "    ".repeat(depth - usize::from(width.is_some()));
        let column = |offset: Option<u32>| match width {
            Some(width) => format!("{:>width$} ", offset.map(|n| format!("[{n}]")).unwrap_or_default()),
            None => String::new(),
        };
        match &self.value {
            Value::Group(inner) if self.name.is_empty() => {
                let open = format!("{}{pad}{} {{", column(None), self.declared);
                let inner = inner.iter().flat_map(|member| member.declaration(width, depth + 1));
                let close = format!("{}{pad}}};", column(None));
                std::iter::once(open).chain(inner).chain(std::iter::once(close)).collect()
            }
            _ => vec![format!("{}{pad}{};", column(self.offset), self.declared())],
        }
    }

    /// `unsigned long flags`, `struct mm_struct *vm_mm`, `unsigned long _watermark[4]`.
    fn declared(&self) -> String {
        let (kind, array) = match self.declared.split_once('[') {
            Some((kind, array)) => (kind, format!("[{array}")),
            None => (&*self.declared, String::new()),
        };
        let space = if kind.ends_with('*') { "" } else { " " };
        format!("{kind}{space}{}{array}", self.name)
    }

    /// Rows of its declaration: those of an anonymous structure are its members'.
    pub fn declarations(&self) -> Vec<Record> {
        match &self.value {
            Value::Group(inner) if self.name.is_empty() => {
                inner.iter().flat_map(Member::declarations).collect()
            }
            _ => vec![vec![
                ("member".into(), (&*self.name).into()),
                ("declared".into(), self.declared().into()),
                ("offset".into(), self.offset.into()),
            ]],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Vec<Member> {
        vec![
            member("unsigned long", "flags", 0, Value::Number(20)),
            anonymous(
                "union",
                vec![
                    member("struct list_head", "lru", 8, list(0x10, 0x20)),
                    member("atomic_t", "_mapcount", 48, Value::Counter(-1)),
                ],
            ),
            member(
                "unsigned long[2]",
                "_watermark",
                56,
                Value::Array(vec![Value::Number(1), Value::Number(30)]),
            ),
        ]
    }

    #[test]
    fn a_structure_is_written_as_crash_writes_it() {
        let chosen = choose(&sample(), "page", &[]).unwrap();
        assert_eq!(
            lines("page", &chosen, true, Radix::Decimal).join("\n"),
            "struct page {\n  flags = 20,\n  {\n    lru = {\n      next = 0x10,\n      prev = 0x20\n    },\n    \
             _mapcount = {\n      counter = -1\n    }\n  },\n  _watermark = {1, 30}\n}"
        );
    }

    #[test]
    fn members_are_found_by_their_path_through_anonymous_ones() {
        let chosen = choose(&sample(), "page", &["lru.next", "_watermark[1]", "_mapcount"]).unwrap();
        let shown = lines("page", &chosen, false, Radix::Hex);
        assert_eq!(shown[..2], ["    lru.next = 0x10,", "  _watermark[1] = 0x1e,"]);
        assert_eq!(shown[2..], ["    _mapcount = {", "      counter = 0xffffffff", "    }"]);
        let wrong = choose(&sample(), "page", &["flag"]).unwrap_err().to_string();
        assert!(wrong.contains("page.flag; did you mean flags?"), "{wrong}");
    }

    #[test]
    fn offsets_stand_before_declarations() {
        let text: Vec<String> = sample().iter().flat_map(|m| m.declaration(Some(6), 1)).collect();
        assert_eq!(
            text,
            [
                "   [0] unsigned long flags;",
                "       union {",
                "   [8]     struct list_head lru;",
                "  [48]     atomic_t _mapcount;",
                "       };",
                "  [56] unsigned long _watermark[2];",
            ]
        );
    }
}
