//! Property tests: the simulator against models too simple to be wrong.

mod bad_page;
mod buddy;
mod compact;
mod gfp;
mod machines;
mod vm;
