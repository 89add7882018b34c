//! Two texts of the same layout: what is left of a line when its numbers are masked.

#![allow(dead_code)]

/// The line with every number as `#`, without the letters of migratetypes and the answer to `all_unreclaimable?`.
pub fn masked(line: &str) -> String {
    let mut text = String::new();
    let mut number = false;
    for c in line.chars() {
        if !c.is_ascii_digit() {
            text.push(c);
        } else if !number {
            text.push('#');
        }
        number = c.is_ascii_digit();
    }
    for answer in ["yes", "no"] {
        if let Some(line) = text.strip_suffix(&format!("all_unreclaimable? {answer}")) {
            text = format!("{line}all_unreclaimable?");
        }
    }
    without_letters(&text)
}

/// `#*#kB (UME) #*#kB` without the letters: which types have a block of an order is occupancy, not layout.
fn without_letters(text: &str) -> String {
    let is_types = |word: &str| {
        let inside = word.strip_prefix('(').and_then(|w| w.strip_suffix(')'));
        inside.is_some_and(|w| !w.is_empty() && w.chars().all(|c| "UMECHI".contains(c)))
    };
    text.split(' ').filter(|word| !is_types(word)).collect::<Vec<_>>().join(" ")
}

/// A row of numbers in columns, as the widths of its right-aligned numbers: `[    104]     0 wl` is `[@7]@6 wl`.
pub fn columns(row: &str) -> String {
    let mut text = String::new();
    let mut blank = String::new();
    let mut digits = 0;
    for c in row.chars().chain(['\n']) {
        match c {
            ' ' | '-' if digits == 0 => blank.push(c),
            '0'..='9' => digits += 1,
            other => {
                match digits {
                    0 => text.push_str(&blank),
                    n => text.push_str(&format!("@{}", blank.len() + n)),
                }
                blank.clear();
                digits = 0;
                if other == ' ' { blank.push(' ') } else { text.push(other) }
            }
        }
    }
    text
}

/// A line of the log without its time.
pub fn untimed(line: &str) -> &str {
    match line.strip_prefix('[').and_then(|rest| rest.split_once("] ")) {
        Some((time, text)) if time.trim().parse::<f64>().is_ok() => text,
        _ => line,
    }
}

/// The first line in which the two differ, if there is one.
pub fn difference(want: &[String], got: &[String]) -> Option<String> {
    let at = (0..want.len().max(got.len())).find(|i| want.get(*i) != got.get(*i))?;
    let show = |lines: &[String]| lines.get(at).cloned().unwrap_or_else(|| "nothing".into());
    Some(format!("line {}:\n  want {}\n  got  {}", at + 1, show(want), show(got)))
}
