//! The values of the language that Rhai does not have: addresses, masks, refusals and signals.

use crate::mm::errno::{Errno, Signal};
use crate::mm::gfp::Gfp;
use crate::script::answer::{self, ScriptResult, misuse};
use crate::script::args::{self, Addr, Address, Size};
use rhai::plugin::*;

/// Numbers, addresses, and the values that calls answer when they are refused.
#[export_module]
pub mod functions {
    /// Makes an address out of an int by its bit pattern, or out of a string in hexadecimal.
    ///
    /// Kernel addresses do not fit a signed int: `addr` is unsigned, 64 bits, and prints in hexadecimal.
    ///
    /// ```vmlab
    /// > addr(0xffff888000000000)
    /// 0xffff888000000000
    /// > addr("ffff888000001000") - addr(0xffff888000000000)
    /// 4096
    /// > addr(0xffff888000000000) + 2 * PAGE_SIZE
    /// 0xffff888000002000
    /// > addr(0xffff888000000000) == 0xffff888000000000
    /// true
    /// ```
    #[rhai_fn(return_raw)]
    pub fn addr(value: Addr) -> ScriptResult<Address> {
        if let Some(text) = value.read_lock::<ImmutableString>() {
            let digits = text.trim().trim_start_matches("0x");
            return match u64::from_str_radix(digits, 16) {
                Ok(bits) => Ok(Address(bits)),
                Err(_) => misuse(format!(
                    "{:?} is no address; write it in hexadecimal, such as \"ffff888000001000\"",
                    &**text
                )),
            };
        }
        Ok(Address(args::addr("the address", &value)?))
    }

    /// Writes a number or an address in hexadecimal, as `0x…`.
    ///
    /// ```vmlab
    /// > hex(255)
    /// 0xff
    /// > hex(-1)
    /// 0xffffffffffffffff
    /// ```
    #[rhai_fn(return_raw)]
    pub fn hex(value: Addr) -> ScriptResult<String> {
        Ok(format!("{:#x}", args::addr("the number", &value)?))
    }

    /// Reads a size as people write it and answers its bytes.
    ///
    /// ```vmlab
    /// > size("256M")
    /// 268435456
    /// > size("64k") / PAGE_SIZE
    /// 16
    /// > size("much")
    /// error: the size is "much", which is no size; write a number, or "64k", "256M", "2G"
    ///  --> 1:6
    ///   |
    /// 1 | size("much")
    ///   |      ^^^^^^
    /// ```
    #[rhai_fn(return_raw)]
    pub fn size(size: Size) -> ScriptResult<i64> {
        Ok(args::size("the size", &size)? as i64)
    }

    /// Tells whether a value is a refusal of the kernel or a signal.
    ///
    /// ```vmlab
    /// > is_err(ENOMEM)
    /// true
    /// > is_err(0)
    /// false
    /// ```
    pub fn is_err(value: Dynamic) -> bool {
        answer::is_err(&value)
    }

    #[rhai_fn(global, name = "to_string", name = "to_debug", pure)]
    pub fn address_text(a: &mut Address) -> String {
        a.to_string()
    }

    #[rhai_fn(name = "to_int", pure)]
    pub fn address_bits(a: &mut Address) -> i64 {
        a.0 as i64
    }

    #[rhai_fn(name = "+")]
    pub fn address_plus(a: Address, n: i64) -> Address {
        Address(a.0.wrapping_add(n as u64))
    }

    #[rhai_fn(name = "+")]
    pub fn plus_address(n: i64, a: Address) -> Address {
        Address(a.0.wrapping_add(n as u64))
    }

    #[rhai_fn(name = "-")]
    pub fn address_minus(a: Address, n: i64) -> Address {
        Address(a.0.wrapping_sub(n as u64))
    }

    #[rhai_fn(name = "-")]
    pub fn address_distance(a: Address, b: Address) -> i64 {
        a.0.wrapping_sub(b.0) as i64
    }

    #[rhai_fn(name = ">>", return_raw)]
    pub fn address_shift_right(a: Address, n: i64) -> ScriptResult<Address> {
        Ok(Address(a.0 >> args::within("the shift", n, 63)?))
    }

    #[rhai_fn(name = "<<", return_raw)]
    pub fn address_shift_left(a: Address, n: i64) -> ScriptResult<Address> {
        Ok(Address(a.0 << args::within("the shift", n, 63)?))
    }

    #[rhai_fn(name = "&")]
    pub fn address_mask(a: Address, n: i64) -> Address {
        Address(a.0 & n as u64)
    }

    #[rhai_fn(name = "|")]
    pub fn address_or(a: Address, n: i64) -> Address {
        Address(a.0 | n as u64)
    }

    #[rhai_fn(name = "^")]
    pub fn address_xor(a: Address, n: i64) -> Address {
        Address(a.0 ^ n as u64)
    }

    #[rhai_fn(name = "%", return_raw)]
    pub fn address_rest(a: Address, n: i64) -> ScriptResult<i64> {
        match u64::try_from(n) {
            Ok(n) if n > 0 => Ok((a.0 % n) as i64),
            _ => misuse(format!("an address divided by {n} has no rest")),
        }
    }

    #[rhai_fn(global, name = "to_string", name = "to_debug", pure)]
    pub fn gfp_text(gfp: &mut Gfp) -> String {
        gfp.to_string()
    }

    #[rhai_fn(name = "to_int", pure)]
    pub fn gfp_bits(gfp: &mut Gfp) -> i64 {
        gfp.0.into()
    }

    #[rhai_fn(name = "|", name = "+")]
    pub fn gfp_or(a: Gfp, b: Gfp) -> Gfp {
        a | b
    }

    #[rhai_fn(name = "&")]
    pub fn gfp_and(a: Gfp, b: Gfp) -> Gfp {
        Gfp(a.0 & b.0)
    }

    #[rhai_fn(name = "-")]
    pub fn gfp_without(a: Gfp, b: Gfp) -> Gfp {
        a.without(b)
    }

    #[rhai_fn(name = "==")]
    pub fn gfp_equals(a: Gfp, b: Gfp) -> bool {
        a == b
    }

    #[rhai_fn(name = "!=")]
    pub fn gfp_differs(a: Gfp, b: Gfp) -> bool {
        a != b
    }

    #[rhai_fn(name = "==")]
    pub fn gfp_equals_int(a: Gfp, b: i64) -> bool {
        i64::from(a.0) == b
    }

    #[rhai_fn(name = "!=")]
    pub fn gfp_differs_int(a: Gfp, b: i64) -> bool {
        i64::from(a.0) != b
    }

    #[rhai_fn(global, name = "to_string", name = "to_debug", pure)]
    pub fn errno_text(errno: &mut Errno) -> String {
        errno.to_string()
    }

    /// The refusal's name: `ENOMEM`.
    #[rhai_fn(get = "name", pure)]
    pub fn errno_name(errno: &mut Errno) -> String {
        errno.name().into()
    }

    /// The refusal's number: 12 for `ENOMEM`.
    #[rhai_fn(get = "number", pure)]
    pub fn errno_number(errno: &mut Errno) -> i64 {
        errno.number().into()
    }

    #[rhai_fn(name = "==")]
    pub fn errno_equals(a: Errno, b: Errno) -> bool {
        a == b
    }

    #[rhai_fn(name = "!=")]
    pub fn errno_differs(a: Errno, b: Errno) -> bool {
        a != b
    }

    #[rhai_fn(global, name = "to_string", name = "to_debug", pure)]
    pub fn signal_text(signal: &mut Signal) -> String {
        signal.to_string()
    }

    /// The signal's name: `SIGSEGV`.
    #[rhai_fn(get = "name", pure)]
    pub fn signal_name(signal: &mut Signal) -> String {
        signal.name().into()
    }

    /// The signal's number: 11 for `SIGSEGV`.
    #[rhai_fn(get = "number", pure)]
    pub fn signal_number(signal: &mut Signal) -> i64 {
        signal.number().into()
    }
}

/// Comparisons of addresses: unsigned, and with ints by bit pattern both ways round.
pub fn compare_addresses(module: &mut rhai::Module) {
    macro_rules! compare {
        ($($op:literal => $f:expr;)*) => {$({
            let f: fn(u64, u64) -> bool = $f;
            module.set_native_fn($op, move |a: Address, b: Address| Ok(f(a.0, b.0)));
            module.set_native_fn($op, move |a: Address, b: i64| Ok(f(a.0, b as u64)));
            module.set_native_fn($op, move |a: i64, b: Address| Ok(f(a as u64, b.0)));
        })*};
    }
    compare! {
        "==" => |a, b| a == b;
        "!=" => |a, b| a != b;
        "<" => |a, b| a < b;
        "<=" => |a, b| a <= b;
        ">" => |a, b| a > b;
        ">=" => |a, b| a >= b;
    }
}

/// A signal equals the constant of its name wherever it struck: `x == SIGSEGV`.
pub fn compare_signals(module: &mut rhai::Module) {
    module.set_native_fn("==", |a: Signal, b: Signal| Ok(a.number() == b.number()));
    module.set_native_fn("!=", |a: Signal, b: Signal| Ok(a.number() != b.number()));
}
