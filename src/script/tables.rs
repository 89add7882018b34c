//! What a script can do with the answer of a view.

use crate::script::bench::Bench;
use crate::script::table::Table;
use rhai::plugin::*;
use rhai::{Array, Map};

/// Tables: the text a view prints, and the rows behind it.
#[export_module]
pub mod functions {
    /// The text, as the prompt shows it.
    #[rhai_fn(get = "text", pure)]
    pub fn text(ctx: NativeCallContext, table: &mut Table) -> String {
        Bench::of(&ctx).draw(table).trim_end_matches('\n').into()
    }

    /// The text without Unicode: where a drawing has `█`, this has `#`.
    #[rhai_fn(get = "ascii", pure)]
    pub fn ascii(ctx: NativeCallContext, table: &mut Table) -> String {
        Bench::of(&ctx).ascii(table).trim_end_matches('\n').into()
    }

    /// The table as an SVG document, for pages and slides.
    #[rhai_fn(get = "svg", pure)]
    pub fn svg(ctx: NativeCallContext, table: &mut Table) -> String {
        Bench::of(&ctx).svg(table)
    }

    /// The rows: an array of maps, with the columns' names in lower case as keys.
    #[rhai_fn(get = "rows", pure)]
    pub fn rows(table: &mut Table) -> Array {
        table.rows()
    }

    /// The rows as one JSON document, as `--json` writes it.
    #[rhai_fn(get = "json", pure)]
    pub fn json(table: &mut Table) -> String {
        table.json().to_string()
    }

    /// The number of rows.
    #[rhai_fn(get = "len", pure)]
    pub fn len(table: &mut Table) -> i64 {
        table.records().len() as i64
    }

    /// Makes a table of an array of maps.
    ///
    /// ```vmlab
    /// > table([#{ zone: "DMA", free: 3808 }, #{ zone: "DMA32", free: 87271 }])
    ///  FREE  ZONE
    ///  3808  DMA
    /// 87271  DMA32
    /// ```
    pub fn table(rows: Array) -> Table {
        crate::script::table::from_rows(&rows)
    }

    #[rhai_fn(global, name = "to_string", name = "to_debug", pure)]
    pub fn table_text(ctx: NativeCallContext, table: &mut Table) -> String {
        text(ctx, table)
    }

    /// Tells whether the text of a table holds another text.
    ///
    /// ```vmlab
    /// > kmem("-i").contains("TOTAL SWAP")
    /// true
    /// ```
    #[rhai_fn(name = "contains", pure)]
    pub fn table_contains(ctx: NativeCallContext, table: &mut Table, what: &str) -> bool {
        text(ctx, table).contains(what)
    }

    /// The lines of the text.
    #[rhai_fn(get = "lines", pure)]
    pub fn table_lines(ctx: NativeCallContext, table: &mut Table) -> Array {
        text(ctx, table).lines().map(|line| line.to_string().into()).collect()
    }

    #[rhai_fn(index_get, pure, return_raw)]
    pub fn table_row(table: &mut Table, index: i64) -> crate::script::answer::ScriptResult<Map> {
        let rows = table.rows();
        let at = if index < 0 { index + rows.len() as i64 } else { index };
        match usize::try_from(at)
            .ok()
            .and_then(|at| rows.get(at))
            .and_then(|row| row.clone().try_cast::<Map>())
        {
            Some(row) => Ok(row),
            None => crate::script::answer::misuse(format!(
                "row {index} is asked for, but the table has {} rows",
                rows.len()
            )),
        }
    }
}
