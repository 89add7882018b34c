//! The language: what can be called, and what it means.
//!
//! | module | what |
//! |---|---|
//! | [`bench`] | the handle scripts hold: the one machine |
//! | [`catalogue`] | everything written about everything |
//! | [`answer`] | refusals, signals, broken rules, misuse |
//! | [`args`] | addresses, sizes and tasks as people write them |
//! | [`table`] | what a view answers |
//! | [`complaint`] | what went wrong, where, and what to try |
//!
//! Every other module is a chapter of functions, named after the kernel's file or the tool it follows. A script
//! function checks the script's numbers, calls the kernel's function in `mm`, and answers; a rule found here
//! belongs in `mm`.

pub mod advice;
pub mod allocators;
pub mod answer;
pub mod args;
pub mod bench;
pub mod catalogue;
pub mod compaction;
pub mod complaint;
pub mod constants;
pub mod contig;
pub mod cow;
pub mod dcache;
pub mod draw;
pub mod evaluate;
pub mod fault;
pub mod fault_path;
pub mod file;
pub mod gfp;
pub mod handles;
pub mod highmem;
pub mod imported;
pub mod kmem;
pub mod limits;
pub mod machine;
pub mod mapped;
pub mod memblock;
pub mod mempool;
pub mod mmap;
pub mod modules;
pub mod objects;
pub mod out;
pub mod page;
pub mod page_alloc;
pub mod page_debug;
pub mod percpu;
pub mod proc;
pub mod procps;
pub mod program;
pub mod ps;
pub mod rd;
pub mod segment;
pub mod shm;
pub mod slab;
pub mod snapshot;
pub mod snapshots;
pub mod stack;
pub mod strace;
pub mod structure;
pub mod suggest;
pub mod swap;
pub mod sys;
pub mod table;
pub mod tables;
pub mod takes;
pub mod task;
pub mod tlb;
pub mod told;
pub mod trace;
pub mod values;
pub mod vm;
pub mod vmalloc;
pub mod why;
pub mod zone;

use crate::mm::errno::{Errno, Signal};
use crate::mm::gfp::Gfp;
use answer::Ended;
use bench::Bench;
use catalogue::Chapter;
use rhai::packages::{
    BasicArrayPackage, BasicBlobPackage, BasicMapPackage, BasicMathPackage, BitFieldPackage, CorePackage,
    LogicPackage, MoreStringPackage, Package,
};
use rhai::{Dynamic, Engine, Module, OptimizationLevel, Token, exported_module};

/// The chapters of the language, in the order the book reads them.
pub fn chapters() -> Vec<Chapter> {
    vec![
        Chapter::new("values", values_module())
            .with([constants::sizes(), constants::errnos()].into_iter().flatten().collect()),
        Chapter::new("machine", machine::module()),
        Chapter::new("memblock", memblock::module()),
        Chapter::new("zone", exported_module!(zone::functions)),
        Chapter::new("page", exported_module!(page::functions)),
        Chapter::new("page_alloc", exported_module!(page_alloc::functions)).with(constants::gfp_flags()),
        Chapter::new("contig", exported_module!(contig::functions)),
        Chapter::new("compaction", exported_module!(compaction::functions)),
        Chapter::new("page_debug", exported_module!(page_debug::functions)),
        Chapter::new("percpu", exported_module!(percpu::functions)),
        Chapter::new("allocators", exported_module!(allocators::functions)),
        Chapter::new("mempool", exported_module!(mempool::functions)),
        Chapter::new("stack", exported_module!(stack::functions)),
        Chapter::new("dcache", exported_module!(dcache::functions)),
        Chapter::new("slab", slab::module()).with(slab::constants()),
        Chapter::new("vmalloc", exported_module!(vmalloc::functions)),
        Chapter::new("highmem", exported_module!(highmem::functions)).with(highmem::constants()),
        Chapter::new("segment", exported_module!(segment::functions)),
        Chapter::new("task", task::module()),
        Chapter::new("mmap", exported_module!(mmap::functions)).with(mmap::constants()),
        Chapter::new("advice", exported_module!(advice::functions)).with(advice::constants()),
        Chapter::new("fault", exported_module!(fault::functions)),
        Chapter::new("strace", exported_module!(strace::functions)),
        Chapter::new("tlb", exported_module!(tlb::functions)),
        Chapter::new("file", exported_module!(file::functions)).with(file::constants()),
        Chapter::new("mapped", exported_module!(mapped::functions)).with(mapped::constants()),
        Chapter::new("shm", exported_module!(shm::functions)).with(shm::constants()),
        Chapter::new("swap", exported_module!(swap::functions)),
        Chapter::new("why", exported_module!(why::functions)),
        Chapter::new("trace", exported_module!(trace::functions)),
        Chapter::new("snapshot", exported_module!(snapshot::functions)),
        Chapter::new("proc", exported_module!(proc::functions)),
        Chapter::new("vm", exported_module!(vm::functions)),
        Chapter::new("cow", exported_module!(cow::functions)),
        Chapter::new("sys", exported_module!(sys::functions)),
        Chapter::new("evaluate", exported_module!(evaluate::functions)),
        Chapter::new("rd", exported_module!(rd::functions)),
        Chapter::new("structure", exported_module!(structure::functions)),
        Chapter::new("ps", exported_module!(ps::functions)),
        Chapter::new("procps", exported_module!(procps::functions)),
        Chapter::new("kmem", exported_module!(kmem::functions)),
        Chapter::new("draw", exported_module!(draw::functions)),
        Chapter::new("tables", exported_module!(tables::functions)),
        Chapter::new("program", exported_module!(program::functions)),
    ]
}

fn values_module() -> Module {
    let mut module = exported_module!(values::functions);
    values::compare_addresses(&mut module);
    values::compare_signals(&mut module);
    module
}

/// An engine whose calls reach this bench, within the bench's limits.
pub fn engine(bench: &Bench) -> Engine {
    let limits = bench.borrow().limits;
    let mut engine = Engine::new_raw();
    // Rhai's standard package without its clock: nothing here depends on the host's time.
    CorePackage::new().register_into_engine(&mut engine);
    BitFieldPackage::new().register_into_engine(&mut engine);
    LogicPackage::new().register_into_engine(&mut engine);
    BasicMathPackage::new().register_into_engine(&mut engine);
    BasicArrayPackage::new().register_into_engine(&mut engine);
    BasicBlobPackage::new().register_into_engine(&mut engine);
    BasicMapPackage::new().register_into_engine(&mut engine);
    MoreStringPackage::new().register_into_engine(&mut engine);

    engine
        .register_type_with_name::<args::Address>("addr")
        .register_type_with_name::<Gfp>("gfp")
        .register_type_with_name::<Errno>("errno")
        .register_type_with_name::<Signal>("signal")
        .register_type_with_name::<table::Table>("table")
        .register_type_with_name::<handles::MachineRef>("machine")
        .register_type_with_name::<handles::NodeRef>("node")
        .register_type_with_name::<handles::ZoneRef>("zone")
        .register_type_with_name::<handles::PageRef>("page")
        .register_type_with_name::<handles::CacheRef>("kmem_cache")
        .register_type_with_name::<handles::TaskRef>("task")
        .register_type_with_name::<mempool::MempoolRef>("mempool")
        .register_type_with_name::<handles::VmaRef>("vma")
        .register_type_with_name::<handles::FileRef>("file");
    for chapter in chapters() {
        engine.register_global_module(chapter.module.into());
    }

    // `Full` may call functions while compiling: a machine must not change before its script runs.
    engine.set_optimization_level(OptimizationLevel::Simple);
    engine.disable_symbol("eval");
    #[allow(deprecated)] // "volatile", not deprecated: it frees the reserved words `spawn` and `sync`.
    engine.on_parse_token(|token, _, _| match token {
        Token::Reserved(word) if matches!(word.as_str(), "spawn" | "sync") => Token::Identifier(word),
        other => other,
    });
    engine.set_max_operations(limits.operations);
    engine.set_max_call_levels(limits.call_levels);
    engine.set_max_expr_depths(128, 64);
    engine.set_max_string_size(limits.string);
    engine.set_max_array_size(limits.array);
    engine.set_max_map_size(limits.array);
    engine.set_max_variables(4096);
    engine.set_max_modules(64);
    engine.set_module_resolver(modules::Jail::new(limits.host));

    engine.set_default_tag(Dynamic::from(bench.clone()));
    let (out, watched) = (bench.out.clone(), bench.clone());
    engine.on_print(move |text| out.line(text));
    let out = bench.out.clone();
    engine.on_debug(move |text, _, _| out.line(text));
    engine.on_progress(move |operations| {
        // A look at the streams costs more than an operation does.
        if operations & 0x3f != 0 {
            return None;
        }
        if watched.stopped() {
            Some(Dynamic::from(Ended::Interrupted))
        } else if watched.out.closed() {
            Some(Dynamic::from(Ended::Closed))
        } else if limits.operations > 0 && operations + watched.calls() * limits::CALL > limits.operations {
            Some(Dynamic::from(Ended::TooManyOperations(limits.operations)))
        } else if watched.out.overflowed() {
            Some(Dynamic::from(Ended::TooMuchOutput(limits.output)))
        } else {
            None
        }
    });
    engine
}
