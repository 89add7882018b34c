//! What a script used up: page frames, faults, virtual time; counted by the machine, which only goes forward.

use crate::lab::exercise::{Budget, Kind};
use crate::mm::Machine;
use crate::mm::config::ZoneType;
use crate::mm::vmstat::{VmEvent, ZoneEvent};
use crate::script::bench::Desk;
use rhai::Map;

/// Numbers of a machine at one moment, or the difference of two.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Used {
    /// Page frames taken from the allocator.
    pub pages: u64,
    /// Page faults.
    pub faults: u64,
    /// Virtual nanoseconds.
    pub ns: u64,
    /// Decisions and hot events recorded.
    events: u64,
    /// All counters together.
    counted: u64,
    /// The next throw of the dice.
    dice: u64,
    /// Lines of the kernel log.
    log: u64,
}

impl Used {
    /// The numbers of a machine now.
    pub fn now(machine: &Machine) -> Used {
        let allocated = |&kind: &ZoneType| machine.zone_event(ZoneEvent::Pgalloc, kind);
        Used {
            pages: ZoneType::ALL.iter().map(allocated).sum(),
            faults: machine.vmstat.get(VmEvent::Pgfault),
            ns: machine.clock,
            events: machine.trace.total,
            counted: VmEvent::ALL.iter().map(|&event| machine.vmstat.get(event)).sum(),
            dice: machine.dice.clone().next_u64(),
            log: machine.log().len() as u64,
        }
    }

    /// What was used since.
    pub fn since(self, before: Used) -> Used {
        Used {
            pages: self.pages.saturating_sub(before.pages),
            faults: self.faults.saturating_sub(before.faults),
            ns: self.ns.saturating_sub(before.ns),
            events: self.events.wrapping_sub(before.events),
            counted: self.counted.wrapping_sub(before.counted),
            dice: self.dice ^ before.dice,
            log: self.log.wrapping_sub(before.log),
        }
    }

    /// As goals see it: `used.pages`, `used.faults`, `used.ms`.
    pub fn map(self) -> Map {
        let mut map = Map::new();
        map.insert("pages".into(), (self.pages as i64).into());
        map.insert("faults".into(), (self.faults as i64).into());
        map.insert("ms".into(), ((self.ns / 1_000_000) as i64).into());
        map
    }

    /// Why this is more than the budget allows.
    pub fn over(self, budget: Budget) -> Option<String> {
        let ms = self.ns.div_ceil(1_000_000);
        let over = |used: u64, limit: Option<u64>, what: &str| {
            let limit = limit.filter(|&limit| used > limit)?;
            Some(format!("Your script used {used} {what}; this lab allows {limit}."))
        };
        over(self.pages, budget.pages, "page frames")
            .or_else(|| over(self.faults, budget.faults, "page faults"))
            .or_else(|| over(ms, budget.ms, "ms of virtual time"))
    }

    /// Why this is more than looking at the machine.
    fn touched(self, machine: &Machine) -> Option<String> {
        let last = machine.trace.events().next_back();
        let how = if self.pages > 0 {
            format!("it took {} page frames", self.pages)
        } else if self.ns > 0 {
            format!("{:.3} ms of virtual time passed", self.ns as f64 / 1e6)
        } else if self.dice != 0 {
            "it threw the dice".into()
        } else if let Some(event) = last.filter(|_| self.events > 0) {
            format!("the kernel recorded `{}`", event.event)
        } else if self.counted > 0 || self.log > 0 {
            "something was freed or counted".into()
        } else {
            return None;
        };
        Some(format!(
            "A prediction is made before anything happens, but your script changed the machine: {how}. \
             Try things out with `vmlab lab try`; here, look and compute."
        ))
    }
}

/// Why what a script did to its bench is not allowed in a lab; the author had booted `boots` machines before.
pub fn foul(kind: Kind, budget: Budget, used: Used, desk: &Desk, boots: u32) -> Option<String> {
    // A machine that was booted again, or can be gone back to, has counters that prove nothing.
    if desk.boots > boots {
        return Some("A lab's machine is given: your script may not call boot() or reset().".into());
    }
    if !desk.snapshots.is_empty() {
        return Some(
            "A lab's machine only goes forward: your script may not call snapshot(). \
             Try things out with `vmlab lab try`."
                .into(),
        );
    }
    let touched = if kind == Kind::Predict { used.touched(&desk.machine) } else { None };
    touched.or_else(|| used.over(budget))
}
