//! Numbers that must not be mixed up: frames, orders, nodes and addresses.
//!
//! Gorman chapter 2. Kernel: `include/linux/mm_types.h`, `include/linux/mmzone.h`.
//! Fidelity: faithful — frame numbers, orders, the buddy formula. Absent — frames above 16 TiB.

use std::fmt;
use std::ops::Range;

/// Bits of an address inside a page.
pub const PAGE_SHIFT: u32 = 12;
/// Bytes of a page.
pub const PAGE_SIZE: u64 = 1 << PAGE_SHIFT;

/// Index of a page frame: `2^32` frames of 4 KiB are 16 TiB.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Pfn(pub u32);

impl Pfn {
    /// Ends every intrusive list; no machine has this frame.
    pub const NIL: Pfn = Pfn(u32::MAX);

    /// The other half of the block of the next order: `pfn ^ (1 << order)`.
    #[inline]
    pub fn buddy(self, order: Order) -> Pfn {
        Pfn(self.0 ^ order.pages())
    }

    /// The frame `n` frames further up.
    #[inline]
    pub fn up(self, n: u32) -> Pfn {
        Pfn(self.0 + n)
    }

    /// True when a block of `order` may start here.
    pub fn is_aligned(self, order: Order) -> bool {
        self.0 & (order.pages() - 1) == 0
    }

    /// The physical address of the frame's first byte.
    pub fn phys(self) -> PhysAddr {
        PhysAddr(u64::from(self.0) << PAGE_SHIFT)
    }

    /// The frames `self .. self + n`.
    pub fn to(self, n: u32) -> Range<u32> {
        self.0..self.0 + n
    }
}

impl fmt::Debug for Pfn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// The one way to print a frame number: `0x1f3c4`.
impl fmt::Display for Pfn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}", self.0)
    }
}

/// A block of `2^order` pages; `0..=10`, it cannot be built out of range.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Order(u8);

impl Order {
    /// One page.
    pub const ZERO: Order = Order(0);
    /// The largest block of the buddy allocator: 4 MiB.
    pub const MAX: Order = Order(10);
    /// How many orders there are (`MAX_ORDER` of 6.1).
    pub const COUNT: usize = 11;
    /// The usual order of a pageblock, the unit of grouping by mobility: that of a huge page of 2 MiB.
    pub const PAGEBLOCK: Order = Order(9);
    /// Larger requests are *costly*: the slow path does not insist on them.
    pub const COSTLY: Order = Order(3);

    /// The order `n`, if there is one.
    #[inline]
    pub fn new(n: u8) -> Option<Order> {
        (n <= Order::MAX.0).then_some(Order(n))
    }

    /// Pages of a block.
    #[inline]
    pub fn pages(self) -> u32 {
        1 << self.0
    }

    /// The next larger order.
    #[inline]
    pub fn up(self) -> Option<Order> {
        (self.0 < Order::MAX.0).then_some(Order(self.0 + 1))
    }

    /// The next smaller order.
    #[inline]
    pub fn down(self) -> Option<Order> {
        self.0.checked_sub(1).map(Order)
    }

    /// This order and every larger one.
    #[inline]
    pub fn and_above(self) -> impl DoubleEndedIterator<Item = Order> {
        (self.0..=Order::MAX.0).map(Order)
    }

    /// Every order, smallest first.
    pub fn all() -> impl DoubleEndedIterator<Item = Order> {
        Order::ZERO.and_above()
    }

    /// The order as an index.
    #[inline]
    pub fn index(self) -> usize {
        usize::from(self.0)
    }

    /// The order as a number.
    pub const fn get(self) -> u8 {
        self.0
    }

    /// The smallest order whose block holds `pages`; `None` above [`Order::MAX`].
    pub fn holding(pages: u64) -> Option<Order> {
        Order::all().find(|o| u64::from(o.pages()) >= pages)
    }
}

impl fmt::Display for Order {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// Number of a NUMA node.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Nid(pub u8);

impl Nid {
    /// The node as an index.
    pub fn index(self) -> usize {
        usize::from(self.0)
    }
}

impl fmt::Display for Nid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// Index of a zone in `Machine::zones`: zones of node 0 first, low zones first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct ZoneId(pub u16);

impl ZoneId {
    /// The zone as an index.
    #[inline]
    pub fn index(self) -> usize {
        usize::from(self.0)
    }
}

/// Number of a simulated CPU.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Cpu(pub u16);

impl Cpu {
    /// The CPU as an index.
    #[inline]
    pub fn index(self) -> usize {
        usize::from(self.0)
    }
}

macro_rules! address {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        pub struct $name(pub u64);

        impl $name {
            /// The first byte of the page that holds this address.
            #[inline]
            pub fn page(self) -> $name {
                $name(self.0 & !(PAGE_SIZE - 1))
            }

            /// The offset inside the page.
            #[inline]
            pub fn offset(self) -> u64 {
                self.0 & (PAGE_SIZE - 1)
            }

            /// True at a page's first byte.
            #[inline]
            pub fn is_aligned(self) -> bool {
                self.offset() == 0
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{self}")
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:#x}", self.0)
            }
        }
    };
}

address! {
    /// An address as the memory bus sees it.
    PhysAddr
}
address! {
    /// An address as a program or the kernel sees it.
    VirtAddr
}

impl PhysAddr {
    /// The frame that holds this address; `None` above 16 TiB.
    pub fn pfn(self) -> Option<Pfn> {
        u32::try_from(self.0 >> PAGE_SHIFT).ok().map(Pfn)
    }
}

impl VirtAddr {
    /// The virtual page number.
    #[inline]
    pub fn vpn(self) -> u64 {
        self.0 >> PAGE_SHIFT
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buddy_is_its_buddys_buddy() {
        for order in Order::all() {
            let pfn = Pfn(0x1f3c00);
            assert_eq!(pfn.buddy(order).buddy(order), pfn);
            assert_ne!(pfn.buddy(order), pfn);
        }
        assert_eq!(Pfn(4).buddy(Order::ZERO), Pfn(5));
    }

    #[test]
    fn orders_end_at_ten() {
        assert_eq!(Order::new(10), Some(Order::MAX));
        assert_eq!(Order::new(11), None);
        assert_eq!(Order::all().count(), Order::COUNT);
        assert_eq!(Order::holding(5).map(Order::pages), Some(8));
        assert_eq!(Order::holding(1025), None);
    }
}
