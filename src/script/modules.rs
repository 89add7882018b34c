//! `import`, kept inside the directory it starts from.

use rhai::module_resolvers::FileModuleResolver;
use rhai::{Engine, EvalAltResult, Module, ModuleResolver, Position, Shared};
use std::path::{Component, Path};

/// Resolves `import "name"` to `name.rhai` below the current directory, and nowhere else.
pub struct Jail {
    files: FileModuleResolver,
    open: bool,
}

impl Jail {
    /// A resolver; a closed one refuses every import.
    pub fn new(open: bool) -> Jail {
        Jail { files: FileModuleResolver::new(), open }
    }
}

impl ModuleResolver for Jail {
    fn resolve(
        &self,
        engine: &Engine,
        source: Option<&str>,
        path: &str,
        pos: Position,
    ) -> Result<Shared<Module>, Box<EvalAltResult>> {
        let refuse = |why: &str| {
            Err(Box::new(EvalAltResult::ErrorRuntime(format!("import {path:?}: {why}").into(), pos)))
        };
        if !self.open {
            return refuse("a sandboxed script cannot import");
        }
        if !Path::new(path).components().all(|c| matches!(c, Component::Normal(_))) {
            return refuse("only files below the current directory can be imported");
        }
        // A link may still lead out: compare where the two really are.
        let real = Path::new(path).with_extension("rhai").canonicalize();
        let home = Path::new(".").canonicalize();
        match (real, home) {
            (Ok(real), Ok(home)) if real.starts_with(&home) => {}
            (Ok(_), Ok(_)) => return refuse("only files below the current directory can be imported"),
            _ => return refuse("no such file"),
        }
        self.files.resolve(engine, source, path, pos)
    }
}
