//! What comes in from other machines: it comes back as it was, or an error says where and why not.

#[path = "../support/recording.rs"]
mod recording;
#[path = "../support/truth.rs"]
mod truth;

mod machines;
mod maps;
mod robust;
