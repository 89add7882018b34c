//! *Did you mean*: the known name nearest to a mistyped one.

/// The known names nearest to `word`, best first, at most three; none when nothing is near.
pub fn nearest<'a>(word: &str, known: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let allowed = match word.chars().count() {
        0..=3 => 1,
        4..=7 => 2,
        _ => 3,
    };
    let mut near: Vec<(usize, &str)> = known
        .filter(|name| *name != word)
        .filter_map(|name| {
            let slips = if name.eq_ignore_ascii_case(word) { 0 } else { distance(word, name) };
            (slips <= allowed && slips < word.len()).then_some((slips, name))
        })
        .collect();
    near.sort();
    near.dedup();
    let best = near.first().map_or(0, |&(slips, _)| slips);
    near.into_iter().filter(|&(slips, _)| slips <= best + 1).take(3).map(|(_, name)| name).collect()
}

/// Slips of the finger between two words: a letter wrong, missing, too many, or two exchanged.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    if a.len().abs_diff(b.len()) > 3 {
        return usize::MAX;
    }
    let mut rows = vec![vec![0; b.len() + 1]; a.len() + 1];
    for (i, row) in rows.iter_mut().enumerate() {
        row[0] = i;
    }
    for (j, cell) in rows[0].iter_mut().enumerate() {
        *cell = j;
    }
    for i in 1..=a.len() {
        for j in 1..=b.len() {
            let wrong = usize::from(a[i - 1] != b[j - 1]);
            let mut least = (rows[i - 1][j] + 1).min(rows[i][j - 1] + 1).min(rows[i - 1][j - 1] + wrong);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                least = least.min(rows[i - 2][j - 2] + 1);
            }
            rows[i][j] = least;
        }
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_of_the_finger_are_found() {
        let known = ["GFP_KERNEL", "GFP_KERNEL_ACCOUNT", "GFP_ATOMIC", "alloc_pages", "kmem"];
        let first = |word| nearest(word, known.into_iter()).first().copied();
        assert_eq!(first("GFP_KERNL"), Some("GFP_KERNEL"));
        assert_eq!(first("gfp_atomic"), Some("GFP_ATOMIC"));
        assert_eq!(first("kemm"), Some("kmem"));
        assert_eq!(first("aloc_page"), Some("alloc_pages"));
        assert_eq!(first("frobnicate"), None);
        assert_eq!(first("x"), None);
    }
}
