//! Property tests: the simulator against models too simple to be wrong.

mod buddy;
mod compact;
mod failures;
mod machines;
mod memblock;
mod vm;
