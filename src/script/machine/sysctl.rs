//! Tunables: reading, writing, listing them.
//!
//! Kernel: `kernel/sysctl.c`.

use crate::script::answer::{ScriptResult, misuse};
use crate::script::bench::Bench;
use crate::script::table::Table;
use crate::script::takes::SysctlName;
use rhai::plugin::*;

/// Tunables: reading, writing, listing them.
#[export_module]
pub mod functions {
    /// Reads a tunable, or writes it; names are those of `sysctl`.
    ///
    /// Writing recomputes what the kernel recomputes: watermarks, reserves, per-CPU limits.
    ///
    /// ```vmlab
    /// > sysctl("vm.swappiness")
    /// 60
    /// > sysctl("vm.min_free_kbytes", 1024)
    /// > zone("DMA32").min
    /// 0
    /// > sysctl("vm.swappiness", 300)
    /// error: vm.swappiness=300 is out of range: 0 to 200
    /// > sysctl vm.watermark_scale_factor=200
    /// vm.watermark_scale_factor = 200
    /// ```
    ///
    /// Kernel: `kernel/sysctl.c`, `Documentation/admin-guide/sysctl/vm.rst`.
    #[rhai_fn(return_raw)]
    pub fn sysctl(ctx: NativeCallContext, name: SysctlName) -> ScriptResult<Dynamic> {
        let value = Bench::of(&ctx).borrow_to_look().machine.sysctl(&name);
        match value {
            Ok(text) => Ok(text.parse::<i64>().map_or_else(|_| text.into(), Dynamic::from)),
            Err(why) => misuse(super::advised(&name, why.what)),
        }
    }

    #[rhai_fn(name = "sysctl", return_raw)]
    pub fn set_sysctl(ctx: NativeCallContext, name: SysctlName, value: Dynamic) -> ScriptResult<()> {
        let written = Bench::of(&ctx).borrow_mut().machine.set_sysctl(&name, &value.to_string());
        written.or_else(|why| misuse(super::advised(&name, why.what)))
    }

    /// Shows tunables as the tool `sysctl` does: all of them, or those of the given names.
    ///
    /// ```vmlab
    /// > sysctls().rows.len
    /// 39
    /// > sysctls("vm.swappiness vm.page-cluster")
    /// vm.swappiness = 60
    /// vm.page-cluster = 3
    /// > sysctl -a | grep min_free
    /// vm.min_free_kbytes = 443
    /// ```
    ///
    /// Kernel: `kernel/sysctl.c`.
    pub fn sysctls(ctx: NativeCallContext) -> Table {
        let bench = Bench::of(&ctx);
        let desk = bench.borrow();
        let value = |name: &str| (format!("vm.{name}"), desk.machine.peek_sysctl(name).unwrap_or_default());
        super::tunables(desk.machine.sysctl_names().into_iter().map(value).collect())
    }

    #[rhai_fn(name = "sysctls", return_raw)]
    pub fn sysctls_named(ctx: NativeCallContext, names: SysctlName) -> ScriptResult<Table> {
        let bench = Bench::of(&ctx);
        let mut desk = bench.borrow_to_look();
        let mut values = Vec::new();
        for name in names.split_whitespace() {
            match desk.machine.sysctl(name) {
                Ok(value) => values.push((name.to_string(), value)),
                Err(why) => return misuse(super::advised(name, why.what)),
            }
        }
        Ok(super::tunables(values))
    }
}

/// `vm.swappiness = 60`.
fn tunables(values: Vec<(String, String)>) -> Table {
    let mut table = Table::new();
    let mut records = Vec::new();
    for (name, value) in values {
        table = table.line(format!("{name} = {value}"));
        records.push(vec![("name".to_string(), name.into()), ("value".to_string(), value.into())]);
    }
    table.with_records(records)
}

/// An unknown name is answered with the nearest one.
fn advised(name: &str, what: String) -> String {
    if !what.starts_with("there is no sysctl") {
        return what;
    }
    let short = name.trim_start_matches("vm.");
    let known = crate::mm::sysctl::Sysctl::ALL.iter().map(|(name, _)| *name).chain(["lowmem_reserve_ratio"]);
    match crate::script::suggest::nearest(short, known).first() {
        Some(near) => format!("there is no sysctl {name}; did you mean vm.{near}?"),
        None => what,
    }
}
