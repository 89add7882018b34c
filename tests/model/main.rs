//! Property tests: the simulator against models too simple to be wrong.

mod advice;
mod allocators;
mod bad_page;
mod buddy;
mod compact;
mod damage;
mod failures;
mod files;
mod gfp;
mod held;
mod kernel_memory;
mod lazyfree;
mod levels;
mod machines;
mod memblock;
mod names;
mod objects;
mod refused;
mod slab;
mod strips;
mod taint;
mod tasks;
mod vm;
mod vmalloc;
