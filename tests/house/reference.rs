//! The book's reference chapter is generated from the declarations; `UPDATE=1` writes it.

#[test]
fn the_reference_is_true() {
    let update = crate::updating();
    let path = "book/src/reference.md";
    let fresh = vmlab::shell::reference::markdown();
    if update.is_some() {
        std::fs::create_dir_all("book/src").unwrap();
        std::fs::write(path, fresh).unwrap();
        return;
    }
    let kept = std::fs::read_to_string(path).unwrap_or_default();
    let line = kept.lines().zip(fresh.lines()).position(|(kept, fresh)| kept != fresh);
    let line = line.unwrap_or(kept.lines().count().min(fresh.lines().count()));
    assert!(
        kept == fresh,
        "{path} differs from line {} on:\n  kept:  {:?}\n  fresh: {:?}\nUPDATE=1 cargo test writes it: read the difference",
        line + 1,
        kept.lines().nth(line),
        fresh.lines().nth(line)
    );
}
