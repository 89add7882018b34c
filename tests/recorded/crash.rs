//! Views of kernel memory against the crash utility on a memory dump of the same size of machine.
//!
//! The dump is of another moment, so numbers differ; every word, every column and every space between must not.

use std::path::Path;
use vmlab::script::bench::Bench;
use vmlab::shell::session::Session;

/// A line with every number and address made the same, as wide as it was.
fn mask(line: &str) -> String {
    let mut masked = String::new();
    for word in line.trim_end().split_inclusive(' ') {
        let (text, space) = word.strip_suffix(' ').map_or((word, ""), |text| (text, " "));
        let number = text.chars().any(|c| c.is_ascii_digit())
            && text.chars().all(|c| c.is_ascii_hexdigit() || c == '/');
        masked += &if number { "#".repeat(text.len()) } else { text.to_string() };
        masked += space;
    }
    masked
}

/// The same words; and where numbers are as long, the same places.
fn same_places(want: &str, got: &str) -> bool {
    let (want, got) = (mask(want), mask(got));
    if want == got {
        return true;
    }
    // A number of another length moves what stands beside it.
    let words =
        |line: &str| line.split_whitespace().map(|w| w.trim_matches('#').to_string()).collect::<Vec<_>>();
    words(&want) == words(&got)
}

#[test]
fn views_have_the_layout_of_crash() {
    let mut session = Session::quiet(Bench::sandbox("x86_64-512M", None).unwrap());
    let mut wrong = Vec::new();
    for option in ["z", "f", "n", "g"] {
        let want =
            std::fs::read_to_string(Path::new("tests/truth/crash").join(format!("kmem_-{option}.txt")))
                .unwrap();
        let got = session.reply(&format!("kmem -{option}"));
        let (want, got): (Vec<&str>, Vec<&str>) =
            (want.trim_end().lines().collect(), got.trim_end().lines().collect());
        for (n, (want, got)) in want.iter().zip(&got).enumerate() {
            // Memory blocks are slab objects of the dump: vmlab has no address for them.
            let got = match got.strip_prefix("       ----      ") {
                Some(rest) => format!(" 0000000000000000{rest}"),
                None => got.to_string(),
            };
            if !same_places(want, &got) {
                wrong.push(format!("kmem -{option}, line {}\n  want {want:?}\n  got  {got:?}", n + 1));
            }
        }
        if want.len() != got.len() {
            wrong.push(format!("kmem -{option}: {} lines, want {}", got.len(), want.len()));
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn headings_and_labels_stand_where_crash_puts_them() {
    let mut session = Session::quiet(Bench::sandbox("x86_64-512M", None).unwrap());
    let want = std::fs::read_to_string("tests/truth/crash/kmem_-i.txt").unwrap();
    let got = session.reply("kmem -i");
    assert_eq!(want.trim_end().lines().count(), got.lines().count());
    for (want, got) in want.trim_end().lines().zip(got.lines()) {
        let start = |line: &str| line.chars().take(13).collect::<String>();
        assert_eq!(start(want), start(got));
        // `77% of TOTAL MEM`, in the same column.
        let tail = |line: &str| line.find('%').map(|at| (at, line[at..].to_string()));
        assert_eq!(tail(want), tail(got), "{want:?} {got:?}");
    }
}
