//! The contract of names: what other people's scripts call, in the argument orders they use.
//!
//! Each line of `PROMISED` must compile and find its functions. Names of floors that are not built yet stand in
//! `LATER`; when one of them becomes known, the test says so, and the line moves up.

use vmlab::mm::errno::Errno;
use vmlab::script::bench::Bench;
use vmlab::script::catalogue::{Kind, everything};
use vmlab::shell::session::Session;

/// Lines that work today.
const PROMISED: &[&str] = &[
    "kvfree(kvmalloc(100000, GFP_KERNEL))",
    "kvfree(kvmalloc_array(1000, 1000, GFP_KERNEL))",
    "kvfree(kvcalloc(10, 10, GFP_KERNEL))",
    "drop_caches(3)",
    // I.2 values
    "KiB + MiB + GiB + TiB + PAGE_SIZE",
    "addr(0xffff888000000000) + 4096",
    "addr(0x2000) - addr(0x1000)",
    "addr(0x2000) >> 12",
    "addr(0x2fff) & 0xfff",
    "addr(0x2000) == 0x2000",
    "0x2000 == addr(0x2000)",
    "[ENOMEM, EINVAL, EFAULT, EACCES, EEXIST, EAGAIN, EBUSY, EPERM, ESRCH, ENOENT, ENOSPC, EINTR]",
    "is_err(ENOMEM)",
    "let z = zone(\"DMA\"); [z.name, z.spanned_pages, z.present_pages, z.managed_pages, z.zone_start_pfn, z.free, z.min, z.low, z.high, z.protection, z.free_area[0]]",
    "let pg = page(1); [pg.pfn, pg.flags, pg.refcount, pg.mapcount, pg.order, pg.zone, pg.node]",
    // I.3 machine
    "boot(\"tiny\")",
    "boot(#{ arch: \"x86_64\", mem: \"256M\", cpus: 2 })",
    "machine()",
    "machines()",
    "nodes()",
    "zones()",
    "zone(\"Normal\")",
    "zone(0, \"Normal\")",
    "sysctl(\"vm.swappiness\")",
    "sysctl(\"vm.swappiness\", 10)",
    "cat(\"/proc/zoneinfo\")",
    "echo(\"10\", \"/proc/sys/vm/swappiness\")",
    "on_cpu(0)",
    "tick(1)",
    "step()",
    "run_until(|| true)",
    "now()",
    "seed(1)",
    "random(6)",
    "let s = snapshot(); restore(s); diff(s)",
    "check()",
    "vmstat()",
    "vmstat(\"pgfault\")",
    "log()",
    "events()",
    "events(\"kmem:*\")",
    "free_percpu(alloc_percpu(8))",
    "let pool = mempool_create(2, 100); mempool_free(mempool_alloc(pool, GFP_KERNEL), pool)",
    "boot(#{ mem: \"64M\", slab: \"slab\" }); kmem_cache_reap()",
    // I.4 physical memory
    "alloc_pages(GFP_KERNEL, 0)",
    "alloc_page(GFP_KERNEL)",
    "alloc_pages_node(0, GFP_KERNEL, 0)",
    "free_pages(__get_free_pages(GFP_KERNEL, 1), 1)",
    "free_page(__get_free_page(GFP_KERNEL))",
    "free_page(get_zeroed_page(GFP_KERNEL))",
    "free_page(get_free_page(GFP_KERNEL))",
    "__get_dma_pages(GFP_KERNEL, 0)",
    "__free_pages(alloc_pages(GFP_KERNEL, 1), 1)",
    "__free_page(alloc_page(GFP_KERNEL))",
    "free_pages_exact(alloc_pages_exact(\"12k\", GFP_KERNEL), \"12k\")",
    "page_address(page(1))",
    "virt_to_page(page_address(page(1)))",
    "page_to_pfn(pfn_to_page(1))",
    "__va(__pa(page_address(page(1))))",
    "let p = alloc_page(GFP_KERNEL); get_page(p); put_page(p)",
    "nr_free_pages()",
    "gfp(GFP_KERNEL)",
    "drain_pages()",
    "compact()",
    "compact(\"--step\")",
    "free_contig_range(alloc_contig_range(0x800, 0x810, GFP_KERNEL), 16)",
    "let a = get_zeroed_page(GFP_KERNEL); kwrite(a, 7); kread(a)",
    // I.5 kernel memory: vmalloc and high memory
    "vfree(vmalloc(8192)); vfree(vzalloc(1)); vfree(vmalloc_32(\"1M\"))",
    "vunmap(vmap([alloc_page(GFP_KERNEL)]))",
    "iounmap(ioremap(0xfed00000, 4096))",
    "vmalloc_to_page(vmalloc(4096))",
    "let p = alloc_page(GFP_HIGHUSER); kmap(p); kunmap(p)",
    "kunmap_atomic(kmap_atomic(alloc_page(GFP_KERNEL)))",
    "kunmap_local(kmap_local_page(alloc_page(GFP_KERNEL)))",
    "GFP_KERNEL | __GFP_ZERO | __GFP_WAIT",
    "boot(#{ machine: \"tiny\", stop: \"memblock\" }); memblock_add(\"16M\", \"16M\"); memblock_reserve(\"16M\", 4096); memblock_free(memblock_alloc(4096, 4096), 4096); memblock_free_all(); alloc_page(GFP_KERNEL)",
    // I.6 tasks and address spaces
    "let p = spawn(\"a\"); [p.pid, p.comm, p.rss, p.total_vm, p.minflt, p.majflt, p.swap, p.oom_score_adj, p.alive, p.vmas]",
    "tasks()",
    "task(1)",
    "fork(spawn(\"a\"))",
    "clone(spawn(\"a\"), CLONE_VM)",
    "vfork(spawn(\"a\"))",
    "execve(spawn(\"a\"), \"bash\")",
    "kthread(\"a\")",
    "kill(spawn(\"a\"), SIGKILL)",
    "exit(spawn(\"a\"))",
    "let p = spawn(\"a\"); p.mmap(0, \"16k\", PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS)",
    "let p = spawn(\"a\"); let a = mmap(p, 0, 8192, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS); mprotect(p, a, 4096, PROT_NONE); munmap(p, a, 8192)",
    "let p = spawn(\"a\"); brk(p, 0)",
    "let p = spawn(\"a\"); sbrk(p, 4096)",
    "let p = spawn(\"a\"); let a = sbrk(p, 8192); p.touch(a, 8192); touch(p, a, 4096, READ); write(p, a, 7); read(p, a)",
    "let p = spawn(\"a\"); exec(p, p.vmas[1].start)",
    "let p = spawn(\"a\"); let v = find_vma(p, p.vmas[0].start); [v.start, v.end, v.flags, v.perms, v.pgoff]",
    "set_oom_score_adj(spawn(\"a\"), 500)",
    // I.7
    "swapon(\"/dev/sdb\", \"1M\"); swapoff(\"/dev/sdb\")",
    "swapon(\"/dev/sdb\", \"1M\", 5)",
    "reclaim(0, 10)",
    // I.8
    "node(0).distance(0)",
    // I.9 looking and asking why
    "kmem(\"-z\")",
    "kmem(\"-i\").text",
    "kmem(\"-i\").rows",
    "whatis(page_address(page(1)))",
    "trace(\"kmem:* vmscan:*\")",
    "explain()",
    "help(\"kmem\")",
    // I.6: tasks and address spaces
    "let p = spawn(\"a\"); let a = p.mmap(0, \"64k\", PROT_READ|PROT_WRITE, MAP_PRIVATE|MAP_ANONYMOUS); p.mprotect(a, 4096, PROT_READ); p.munmap(a, 4096)",
    "let p = spawn(\"a\"); p.brk(0); p.sbrk(4096)",
    "let p = spawn(\"a\"); let a = mmap(p, 0, 4096, PROT_READ|PROT_WRITE, MAP_PRIVATE|MAP_ANONYMOUS); p.write(a, 1); p.read(a); p.touch(a, 4096, READ); p.find_vma(a).perms",
    "let p = spawn(\"a\"); let f = create(\"/d\", \"64k\"); let a = mmap(p, 0, \"64k\", PROT_READ|PROT_WRITE, MAP_SHARED, f, 0); p.msync(a, \"64k\", MS_SYNC); p.mincore(a, \"64k\")",
    "let p = spawn(\"a\"); let id = shmget(IPC_PRIVATE, 4096, IPC_CREAT|0o600); let a = shmat(p, id); p.shmdt(a); shmat(p, id, 0, SHM_RDONLY); shmctl(id, IPC_RMID)",
    "let f = memfd_create(\"m\"); truncate(f, 4096); f.truncate(0)",
    "let p = spawn(\"a\"); let a = mmap(p, 0, 8192, PROT_READ|PROT_WRITE, MAP_PRIVATE|MAP_ANONYMOUS); let b = p.mremap(a, 8192, 4096, 0); mremap(p, b, 4096, 4096, MREMAP_MAYMOVE|MREMAP_FIXED, 0x100000)",
    "let p = spawn(\"a\"); let a = mmap(p, 0, 8192, PROT_READ|PROT_WRITE, MAP_PRIVATE|MAP_ANONYMOUS); p.mlock(a, 4096); munlock(p, a, 4096); mlockall(p, MCL_CURRENT|MCL_FUTURE); munlockall(p); madvise(p, a, 8192, MADV_DONTNEED)",
    "let p = spawn(\"a\"); p.setrlimit(RLIMIT_AS, \"1G\"); free(p, malloc(p, 100))",
    // I.7: files, swap and reclaim
    "let f = create(\"/d\", 10000); pwrite(f, 0, 100); pread(f, 0, 4096); fsync(f); sync(); fadvise(f, 0, 0, POSIX_FADV_DONTNEED); open(\"/d\"); unlink(\"/d\")",
    "mount_tmpfs(\"/mnt\", \"1M\")",
    // I.9
    "let p = spawn(\"a\"); kill(p, SIGKILL); why(p)",
    // I.9 looking
    "let p = spawn(\"x\"); vm(p); vm(p.pid); vm(p.pid, \"-p\"); vm()",
    "vtop(addr(0xffff888000001000))",
    "let p = spawn(\"x\"); let a = brk(p, 0); sbrk(p, 4096); write(p, a, 1); vtop(p, a); p.vtop(a)",
    "ps(); swap(); pte(0x67); ptov(0x1000); btop(0x1000); ptob(1)",
    "foreach(\"vm -p\"); foreach(\"user\", \"set\")",
    "free(\"-m\")",
    "sysrq(\"m\")",
    "page_types(); page_types(\"-r\"); page_types(\"-l\", spawn(\"a\"))",
    "pmap(\"-x\", 1)",
    "draw(\"vma\", 1)",
    "cat(\"/proc/1/maps\"); cat(\"/proc/1/smaps\"); cat(\"/proc/1/status\"); cat(\"/proc/self/statm\"); cat(\"/proc/1/numa_maps\")",
    // I.5 kernel memory: objects
    "kfree(kmalloc(100, GFP_KERNEL))",
    "kfree(kzalloc(100, GFP_KERNEL))",
    "kfree(kcalloc(4, 100, GFP_KERNEL))",
    "krealloc(kmalloc(100, GFP_KERNEL), 200, GFP_KERNEL)",
    "ksize(kmalloc(100, GFP_KERNEL)) + 1",
    "kmalloc_node(100, GFP_KERNEL, 0)",
    r#"let c = kmem_cache_create("c", 1000, 0, SLAB_HWCACHE_ALIGN|SLAB_POISON|SLAB_RED_ZONE|SLAB_STORE_USER); let o = kmem_cache_alloc(c, GFP_KERNEL); kmem_cache_free(c, o); kmem_cache_shrink(c); kmem_cache_destroy(c)"#,
    r#"let c = kmem_cache_create("c", 64, 0, SLAB_CACHE_DMA|SLAB_RECLAIM_ACCOUNT|SLAB_PANIC, |addr| ()); kmem_cache_alloc_node(c, GFP_KERNEL, 0)"#,
    r#"let c = kmem_cache("kmalloc-64"); [c.name, c.objsize, c.num_objs, c.active_objs, c.num_slabs, c.order]"#,
    "slabtop()",
    r#"kmem("-s")"#,
    r#"kmem("-S kmalloc-64")"#,
    // I.9 structures, memory, and the machine
    "rd(page_address(page(1)), 4); rd(page_address(page(1)), \"-8\"); rd(page_address(page(1)), 2, \"-32 -x\")",
    "struct(\"page\", virt_to_page(page_address(page(1)))); struct(\"page.flags,lru\", page(1))",
    "struct(\"page\"); struct(\"zone -o\"); struct(\"zone\", zone(\"DMA\")); struct(\"pglist_data\", node(0))",
    "let p = spawn(\"a\"); struct(\"task_struct\", p); struct(\"mm_struct.pgd\", p); struct(\"vm_area_struct -x\", p.vmas[0])",
    "struct(\"kmem_cache\", \"dentry\"); struct(\"kmem_cache.oo\", kmem_cache(\"kmalloc-64\"))",
    "pcp()",
    "kmem(\"-c\"); kmem(\"-s -I dentry,kmalloc-64\")",
    "sys()",
    "evaluate(\"-b 64k\")",
    "set_context_to_cpu(0)",
    "let p = spawn(\"a\"); cow(p, p.vmas[0].start)",
    "foreach user vm --script",
];

/// Lines that answer with what elsewhere would be a failure.
const REFUSALS: &[(&str, &str)] = &[(
    "[ENOMEM, EINVAL, EFAULT, EACCES, EEXIST, EAGAIN, EBUSY, EPERM, ESRCH, ENOENT, ENOSPC, EINTR]",
    "ENOMEM (Cannot allocate memory)",
)];

/// What an answer says when something went wrong.
const FAILURES: &[&str] = &[
    "error",
    "BUG",
    "kernel BUG",
    "WARNING:",
    "Kernel panic",
    "Trying to vfree",
    "SIGSEGV",
    "SIGBUS",
    "Oops",
];

/// Functions that are promised and not built yet.
const LATER: &[&str] = &[
    "mkswap",
    "set_mempolicy",
    "mbind",
    "get_mempolicy",
    "migrate_pages",
    "move_pages",
    "numa_maps",
    "vmstat_table",
    "numactl",
    "numastat",
    "doctor",
];

fn session() -> Session {
    Session::quiet(Bench::sandbox("tiny", None).expect("tiny is shipped"))
}

#[test]
fn every_promised_line_works() {
    let mut wrong = Vec::new();
    for line in PROMISED {
        let answer = session().reply(line);
        let expected = REFUSALS.iter().find(|(refused, _)| refused == line).map(|(_, answer)| *answer);
        let fails = FAILURES.iter().any(|failure| answer.contains(failure)) || names_an_errno(&answer);
        let right = expected.map_or(!fails, |expected| answer.contains(expected));
        if !right {
            wrong.push(format!("> {line}\n{answer}"));
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

/// `ENOMEM (Cannot allocate memory)`: a refusal, wherever it stands.
fn names_an_errno(answer: &str) -> bool {
    let words = answer.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| word.starts_with('E'));
    words.filter(|word| word.len() > 3).any(|word| Errno::ALL.iter().any(|errno| errno.name() == word))
}

#[test]
fn no_line_stands_twice() {
    let twice: Vec<&&str> = PROMISED
        .iter()
        .enumerate()
        .filter(|(n, line)| PROMISED[..*n].contains(line))
        .map(|(_, l)| l)
        .collect();
    assert!(twice.is_empty(), "{twice:?}");
}

#[test]
fn what_is_built_has_left_the_list_of_later() {
    let known: Vec<String> =
        everything().into_iter().filter(|e| e.kind == Kind::Function).map(|e| e.name).collect();
    let built: Vec<&&str> = LATER.iter().filter(|name| known.iter().any(|k| k == **name)).collect();
    assert!(built.is_empty(), "{built:?} are functions now: give each a line in PROMISED");
}

#[test]
fn every_later_name_can_be_a_function() {
    // A reserved word of the language would make a promise that cannot be kept.
    for name in LATER {
        let function = session().reply(&format!("{name}(41)"));
        assert!(!function.contains("syntax"), "{name}(41): {function}");
        let method = session().reply(&format!("let p = 1; p.{name}(41)"));
        assert!(!method.contains("syntax"), "p.{name}(41): {method}");
        let inside = session().reply(&format!("fn f(p) {{ p.{name}(41) + {name}(p) }}"));
        assert_eq!(inside, "", "{name} inside a function");
    }
}

#[test]
fn no_function_is_hidden_by_one_of_rhai() {
    use rhai::packages::{Package, StandardPackage};
    let mut rhai = rhai::Engine::new_raw();
    StandardPackage::new().register_into_engine(&mut rhai);
    let standard =
        rhai.collect_fn_metadata(None, |f| Some((f.metadata.name.to_string(), f.metadata.num_params)), true);
    let mut hidden = Vec::new();
    for entry in everything().into_iter().filter(|e| e.kind == Kind::Function) {
        for form in &entry.signatures {
            let params = form[form.find('(').unwrap() + 1..form.rfind(')').unwrap()]
                .split(", ")
                .filter(|p| !p.is_empty())
                .count();
            if standard.contains(&(entry.name.clone(), params)) {
                hidden.push(form.clone());
            }
        }
    }
    // These take a type of their own, or replace Rhai's on purpose.
    hidden.retain(|form| {
        !["exit(", "sleep(", "contains(", "truncate("].iter().any(|own| form.starts_with(own))
    });
    assert!(hidden.is_empty(), "{hidden:?}");
}
