//! `struct vm_area_struct`.
//!
//! Kernel: `include/linux/mm_types.h`.

use super::member::{Member, Value, member, somewhere};
use crate::mm::Machine;
use crate::mm::vma::{Vma, VmaId};
use crate::script::objects;
use crate::script::vm::entries;

/// An area.
pub fn vm_area_struct(machine: &Machine, id: VmaId) -> Vec<Member> {
    let vma = &machine.vmas[id];
    let anon = vma.anon_vma.map_or(0, |id| objects::anon_vma(machine, id));
    let prot = somewhere("pgprotval_t", "pgprot", Value::Address(vma.page_prot()));
    vec![
        member("unsigned long", "vm_start", 0, Value::Address(vma.start)),
        member("unsigned long", "vm_end", 8, Value::Address(vma.end)),
        member("struct mm_struct *", "vm_mm", 16, Value::Pointer(objects::mm(machine, vma.mm))),
        member("pgprot_t", "vm_page_prot", 24, Value::Group(vec![prot])),
        member("unsigned long", "vm_flags", 32, Value::Address(vma.flags.0)),
        member("struct anon_vma *", "anon_vma", 88, Value::Pointer(anon)),
        member("unsigned long", "vm_pgoff", 104, Value::Number(vma.pgoff)),
        member("struct file *", "vm_file", 112, file(machine, vma)),
    ]
}

/// Open files have no addresses here: the name stands for them.
fn file(machine: &Machine, vma: &Vma) -> Value {
    match entries::file(machine, vma) {
        none if none.is_empty() => Value::Pointer(0),
        name => Value::Text(name),
    }
}
