//! The labs that come with the binary, so that an installed one needs no folder.
//!
//! The table is kept true by `tests/labs.rs`: `UPDATE=1 cargo test --test labs` writes it anew.

use crate::import::ImportError;
use crate::lab::library::Lab;
use std::path::Path;

struct Files {
    name: &'static str,
    yaml: &'static str,
    start: &'static str,
    solution: &'static str,
    wrong: &'static [(&'static str, &'static str)],
}

macro_rules! labs {
    ($($name:literal: $($wrong:literal)*;)*) => {
        const LABS: &[Files] = &[$(Files {
            name: $name,
            yaml: include_str!(concat!("../../labs/", $name, "/lab.yaml")),
            start: include_str!(concat!("../../labs/", $name, "/start.rhai")),
            solution: include_str!(concat!("../../labs/", $name, "/solution.rhai")),
            wrong: &[$(($wrong, include_str!(concat!("../../labs/", $name, "/wrong/", $wrong, ".rhai"))),)*],
        },)*];
    };
}

labs! {
    "01-read-a-zoneinfo":
        "one-piece" "one-zone" "pages-for-kilobytes" "spanned-is-memory";
    "02-which-zone-pays":
        "help-from-above" "low-zones-first" "no-fallback" "the-name-says-it";
    "03-mem-map-price":
        "a-gap-costs-nothing" "high-memory-pays" "paid-twice" "sixty-four-everywhere";
    "04-reserve-before-the-buddy":
        "a-place-of-my-own" "after-the-hand-over" "anywhere" "keeps-the-picture" "not-aligned" "still-early" "the-kernel-first";
    "05-ten-splits":
        "always-a-large-block" "cut-off-the-front" "eleven-orders" "halves-are-gone" "upper-half-first";
    "06-merge-them-back":
        "any-free-buddy" "everything" "neighbours" "size-does-not-matter" "the-order-i-want";
    "07-per-cpu-lists":
        "all-of-it-leaked" "drained-too-early" "my-cpu-only" "no-leak-at-all" "waits-for-it";
    "08-choose-the-mask":
        "atomic-everywhere" "kernel-everywhere" "not-in-an-interrupt" "only-the-zone" "the-last-pages";
    "09-emergency-pool":
        "a-larger-pool-at-once" "a-pool-for-each" "as-much-as-the-line-allows" "memalloc-has-a-line" "nomemalloc-is-nothing";
    "10-watermark-arithmetic":
        "atomic-is-half" "kilobytes" "low-is-the-line" "no-lowmem-reserve" "only-printed" "reserve-lowered-too" "tried-out";
    "11-lowmem-protection":
        "a-larger-min" "a-ratio-is-no-number-of-pages" "ends-the-programs" "everything-for-the-card" "the-default-will-do";
    "12-make-holes":
        "calls-the-oom-killer" "careful" "every-second-page" "hidden-on-lists" "one-order-too-far" "stops-at-the-watermark";
    "13-compact-them":
        "all-of-memory" "as-many-as-the-block" "cannot-wait" "only-compacts" "the-largest";
    "14-movable-or-not":
        "all-kernel-pages" "compaction-will-do" "ends-the-program" "everybody" "mapped-means-movable";
    "15-pick-the-cache":
        "one-row-for-all" "powers-of-two-only";
    "16-colour":
        "gormans-count" "in-steps-of-an-object" "lists-take-room" "no-colour";
    "17-find-the-leak":
        "whoever-grew-most" "whoever-has-most";
    "18-use-after-free":
        "everything-is-use-after-free" "whoever-is-in-the-report-last";
    "19-slab-slub-slob":
        "a-header-for-everybody" "bytes-only" "powers-of-two";
    "20-the-vmalloc-fault":
        "a-fault-a-page" "all-tasks-alike" "an-entry-for-each-4-mib" "new-tasks";
    "21-guard-pages":
        "every-mistake-is-caught" "guards-are-areas" "one-page-more";
    "22-kmap-until-it-blocks":
        "mapped-is-taken" "pages-of-lowmem" "the-same-page" "two-users";
    "23-lowmem-exhausted":
        "a-smaller-min" "just-gives-back" "moves-everybody" "the-same-mask";
    "24-walk-by-hand":
        "forgets-the-offset" "keeps-the-flags" "next-level-down" "ten-bits-a-level";
    "25-price-of-tables":
        "a-table-a-page" "as-if-aligned" "lowest-level-only" "tables-are-for-ever";
    "26-lazy-tlb":
        "everybody-is-told" "laziness-never-ends" "tables-stay-loaded" "tables-tell-the-tlb";
    "27-read-the-maps":
        "from-the-bottom" "lower-end-of-the-hole" "the-path-of-the-program";
    "28-split-and-merge":
        "maps-it-anew" "neighbours-in-a-row" "one-call-one-area";
    "29-grow-move-shrink":
        "copies-the-words" "may-always-move" "over-the-neighbour";
    "30-thread-or-process":
        "all-is-shared" "every-task-its-own" "forks-copy" "tries-it-out";
    "31-zero-page":
        "every-read-asks" "mmap-enters-zeros" "one-fault-for-one-frame" "reading-takes-memory" "shared-zeros-too";
    "32-copy-on-write":
        "both-copy" "fork-copies-everything" "parent-keeps-its-pages" "reads-fault-too" "sharing-ends-by-itself";
    "33-segv-or-bus":
        "a-guard-is-a-hole" "ends-at-the-byte" "everything-is-segv";
    "34-stack-too-far":
        "only-the-limit" "throws-it-away" "up-to-the-neighbour";
    "46-who-gets-killed":
        "as-it-is-now" "largest-address-space" "largest-rss" "no-wishes" "swapped-out-is-safe" "whoever-allocates";
}

/// The shipped labs; the student's files will stand below `root`.
pub fn labs(root: &Path) -> Result<Vec<Lab>, ImportError> {
    LABS.iter()
        .map(|files| {
            let wrong = files.wrong.iter().map(|(name, text)| (name.to_string(), text.to_string())).collect();
            Lab::new(root.join(files.name), files.name, files.yaml, files.start, files.solution, wrong)
        })
        .collect()
}
