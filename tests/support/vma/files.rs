//! Steps of files, pages of files and System V shared memory.

use super::Player;

/// What these steps keep between them: open files by name, segments by name.
#[derive(Default)]
pub struct Files {}

/// Plays a step of these; false when the word is none of them.
pub fn step(_player: &mut Player, _words: &[&str]) -> bool {
    false
}

/// Maps the file of a step `mmap NAME ADDR LEN PROT FLAGS FILE OFF`; `None` when no file of that name is open.
pub fn mmap(
    _player: &mut Player,
    _file: &str,
    _call: super::calls::Mmap,
) -> Option<Result<vmlab::mm::addr::VirtAddr, vmlab::mm::errno::Errno>> {
    None
}
