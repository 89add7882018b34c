//! System V shared memory: segments that tasks name by a number.
//!
//! Gorman 12.6. Kernel: `ipc/shm.c`.

use crate::mm::addr::VirtAddr;
use crate::mm::shm;
use crate::script::answer::{OrErrno, ScriptResult, answer, misuse};
use crate::script::args::{self, Addr, Address, Size, Who};
use crate::script::bench::Bench;
use crate::script::constants::Constant;
use crate::script::mmap::traced_call;
use crate::script::strace::{called, flags_of, pointer};
use rhai::Map;
use rhai::plugin::*;

/// System V shared memory: segments that tasks name by a number.
#[export_module]
pub mod functions {
    /// The number of a segment of shared memory; `IPC_CREAT` makes it if no segment has the key.
    ///
    /// ```vmlab
    /// > let id = shmget(IPC_PRIVATE, "32k", IPC_CREAT|0o600);
    /// > shmget(42, 4096, 0)
    /// ENOENT (No such file or directory)
    /// > shmctl(id, IPC_STAT).size
    /// 32768
    /// ```
    ///
    /// Kernel: `ksys_shmget`, `newseg`. Gorman: 12.6.
    #[rhai_fn(return_raw)]
    pub fn shmget(ctx: NativeCallContext, key: i64, size: Size, flags: i64) -> ScriptResult<OrErrno<i64>> {
        let size = args::size("size", &size)?;
        let bench = Bench::of(&ctx);
        let mut desk = bench.borrow_mut();
        crate::script::memblock::late(&desk)?;
        let id = answer(desk.machine.shmget(key as i32, size, flags as u64).map(i64::from));
        let shown = || {
            let key = if key == 0 { "IPC_PRIVATE".to_string() } else { format!("{key:#x}") };
            let (mode, flags) = (flags as u64 & 0o777, flags as u64 & !0o777);
            let flags = match flags_of(super::constants(), "IPC_", flags) {
                none if none == "0" => String::new(),
                flags => format!("{flags}|"),
            };
            format!("shmget({key}, {size}, {flags}{mode:04o})")
        };
        let pid = desk.machine.current.pid;
        called(&bench, &desk, pid, shown, &id);
        Ok(id)
    }

    /// Maps a segment into a task's address space and answers its first address.
    ///
    /// ```vmlab
    /// > let id = shmget(IPC_PRIVATE, "32k", IPC_CREAT|0o600);
    /// > let a = spawn("a");
    /// > let b = spawn("b");
    /// > let at = shmat(a, id);
    /// > write(a, at, 5);
    /// > read(b, shmat(b, id))
    /// 5
    /// > shmctl(id, IPC_STAT).nattch
    /// 2
    /// ```
    ///
    /// Kernel: `do_shmat`. Gorman: 12.6.
    #[rhai_fn(return_raw)]
    pub fn shmat(ctx: NativeCallContext, p: Who, id: i64) -> ScriptResult<OrErrno<Address>> {
        super::attach(&ctx, &p, id, VirtAddr(0), 0)
    }

    #[rhai_fn(name = "shmat", return_raw)]
    pub fn shmat_at(ctx: NativeCallContext, p: Who, id: i64, addr: Addr) -> ScriptResult<OrErrno<Address>> {
        super::attach(&ctx, &p, id, VirtAddr(args::addr("addr", &addr)?), 0)
    }

    #[rhai_fn(name = "shmat", return_raw)]
    pub fn shmat_with(
        ctx: NativeCallContext,
        p: Who,
        id: i64,
        addr: Addr,
        flags: i64,
    ) -> ScriptResult<OrErrno<Address>> {
        super::attach(&ctx, &p, id, VirtAddr(args::addr("addr", &addr)?), flags as u64)
    }

    /// Unmaps what `shmat` mapped at this address.
    ///
    /// ```vmlab
    /// > let id = shmget(IPC_PRIVATE, 4096, IPC_CREAT|0o600);
    /// > let p = spawn("app");
    /// > let a = shmat(p, id);
    /// > shmdt(p, a);
    /// > shmdt(p, a)
    /// EINVAL (Invalid argument)
    /// ```
    ///
    /// Kernel: `ksys_shmdt`. Gorman: 12.6.
    #[rhai_fn(return_raw)]
    pub fn shmdt(ctx: NativeCallContext, p: Who, addr: Addr) -> ScriptResult<OrErrno<()>> {
        let addr = VirtAddr(args::addr("addr", &addr)?);
        let shown = || format!("shmdt({})", pointer(addr.0));
        traced_call(&ctx, &p, shown, |desk, pid| answer(desk.machine.shmdt(pid, addr)))
    }

    /// Marks a segment to go with its last area (`IPC_RMID`), or tells what the kernel knows of it (`IPC_STAT`).
    ///
    /// ```vmlab
    /// > let id = shmget(IPC_PRIVATE, 4096, IPC_CREAT|0o600);
    /// > shmctl(id, IPC_STAT)
    /// #{"key": 0, "mode": 384, "nattch": 0, "size": 4096}
    /// > shmctl(id, IPC_RMID);
    /// > shmctl(id, IPC_STAT)
    /// EINVAL (Invalid argument)
    /// ```
    ///
    /// Kernel: `ksys_shmctl`. Gorman: 12.6.
    #[rhai_fn(return_raw)]
    pub fn shmctl(ctx: NativeCallContext, id: i64, cmd: i64) -> ScriptResult<OrErrno<Map>> {
        let bench = Bench::of(&ctx);
        let mut desk = bench.borrow_mut();
        let id = i32::try_from(id).unwrap_or(-1);
        let result = match cmd {
            shm::IPC_RMID => answer(desk.machine.shm_rmid(id)),
            shm::IPC_STAT => answer(desk.machine.shm_stat(id).map(|stat| {
                let numbers = [
                    ("nattch", stat.nattch as i64),
                    ("size", stat.size as i64),
                    ("mode", stat.mode.into()),
                    ("key", stat.key.into()),
                ];
                numbers.into_iter().map(|(name, n)| (name.into(), n.into())).collect::<Map>()
            })),
            other => return misuse(format!("shmctl takes IPC_RMID or IPC_STAT, not {other}")),
        };
        let returned = if result.is::<Map>() { Dynamic::UNIT } else { result.clone() };
        let pid = desk.machine.current.pid;
        let shown = || match (cmd, result.read_lock::<Map>()) {
            (shm::IPC_RMID, _) => format!("shmctl({id}, IPC_RMID, NULL)"),
            (_, None) => format!("shmctl({id}, IPC_STAT, 0x7ffffffde000)"),
            (_, Some(stat)) => {
                let number = |name: &str| stat.get(name).and_then(|n| n.as_int().ok()).unwrap_or(0);
                format!(
                    "shmctl({id}, IPC_STAT, {{shm_segsz={}, shm_nattch={}, ...}})",
                    number("size"),
                    number("nattch")
                )
            }
        };
        called(&bench, &desk, pid, shown, &returned);
        drop(desk);
        Ok(result)
    }
}

fn attach(
    ctx: &NativeCallContext,
    p: &Dynamic,
    id: i64,
    addr: VirtAddr,
    flags: u64,
) -> ScriptResult<Dynamic> {
    let id = i32::try_from(id).unwrap_or(-1);
    let shown =
        || format!("shmat({id}, {}, {})", pointer(addr.0), flags_of(constants(), "SHM_R SHM_EXEC", flags));
    traced_call(ctx, p, shown, |desk, pid| {
        answer(desk.machine.shmat(pid, id, addr, flags).map(|a| Address(a.0)))
    })
}

/// `IPC_CREAT`, `SHM_RDONLY` and the like.
pub fn constants() -> Vec<Constant> {
    let bits = |name, value: u64, doc| Constant::bits(name, value as i64, doc);
    vec![
        Constant::int(
            "IPC_PRIVATE",
            shm::IPC_PRIVATE.into(),
            "A segment of its own, whatever the keys of others.",
        ),
        bits("IPC_CREAT", shm::IPC_CREAT, "Make it if there is none."),
        bits("IPC_EXCL", shm::IPC_EXCL, "With IPC_CREAT: EEXIST if there is one."),
        Constant::int("IPC_RMID", shm::IPC_RMID, "The segment goes with its last area."),
        Constant::int("IPC_STAT", shm::IPC_STAT, "What the kernel knows of a segment."),
        bits(
            "SHM_NORESERVE",
            shm::SHM_NORESERVE,
            "For shmget: nothing counts as committed before it is used.",
        ),
        bits("SHM_RDONLY", shm::SHM_RDONLY, "For shmat: no writing."),
        bits("SHM_RND", shm::SHM_RND, "For shmat: the address is rounded down to a page."),
        bits("SHM_REMAP", shm::SHM_REMAP, "For shmat: what is there goes."),
        bits("SHM_EXEC", shm::SHM_EXEC, "For shmat: executing is allowed."),
    ]
}
