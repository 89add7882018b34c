//! The kernel's command line, as far as its words are simulated.
//!
//! Kernel: `init/main.c` (`parse_early_param`), `lib/kstrtox.c` (`kstrtobool`).
//! Fidelity: simplified — words that other parts read when they begin are left to them; unknown ones are listed.

use crate::mm::machine::Machine;

impl Machine {
    /// Obeys the kernel's command line, as far as its words are simulated (`parse_early_param`).
    pub(super) fn apply_cmdline(&mut self) {
        let line = self.config.cmdline.clone();
        if line.is_empty() {
            return;
        }
        self.printk(format!("Kernel command line: {line}"));
        let mut unknown = Vec::new();
        for word in line.split_whitespace() {
            let (name, value) = word.split_once('=').unwrap_or((word, ""));
            let switch: fn(&mut Machine, bool) = match name {
                "page_owner" => Machine::set_page_owner,
                "page_poison" => Machine::set_page_poison,
                // Others read these when they begin.
                "kernelcore" | "movablecore" | "movable_node" | "transparent_hugepage" => continue,
                "slub_debug" | "slab_nomerge" | "slub_nomerge" => continue,
                _ => {
                    unknown.push(word);
                    continue;
                }
            };
            match kstrtobool(value) {
                Some(on) => switch(self, on),
                None => self.printk(format!("Malformed early option '{name}'")),
            }
        }
        if !unknown.is_empty() {
            let unknown = unknown.join(" ");
            self.printk(format!(
                "Unknown kernel command line parameters \"{unknown}\", will be passed to user space."
            ));
        }
    }
}

/// Yes or no as a kernel parameter says it (`kstrtobool`).
pub fn kstrtobool(word: &str) -> Option<bool> {
    match word.get(..2).unwrap_or(word) {
        "on" | "oN" | "On" | "ON" => Some(true),
        "of" | "oF" | "Of" | "OF" => Some(false),
        _ => match word.chars().next()? {
            'y' | 'Y' | 't' | 'T' | '1' => Some(true),
            'n' | 'N' | 'f' | 'F' | '0' => Some(false),
            _ => None,
        },
    }
}
