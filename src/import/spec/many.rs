//! Lists of a machine spec that can be written short: a number, sizes, or everything.
//!
//! Fidelity: not of the kernel.

use super::values::Size;
use serde::de::value::{MapAccessDeserializer, StrDeserializer};
use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use std::fmt;
use std::marker::PhantomData;

/// One or many, or only how many: `2`, `[128M, 128M]`, `[{ mem: 128M, cpus: 1 }]`.
#[derive(Clone, PartialEq, Debug)]
pub enum Many<T> {
    /// So many equal ones.
    Count(u64),
    /// These.
    List(Vec<OrSize<T>>),
}

/// A thing written out, or only its size.
#[derive(Clone, PartialEq, Debug)]
pub enum OrSize<T> {
    /// Only its size.
    Size(Size),
    /// Written out.
    Whole(T),
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Many<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Of<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Of<T> {
            type Value = Many<T>;
            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("a list, or a number")
            }
            fn visit_u64<E: Error>(self, count: u64) -> Result<Many<T>, E> {
                Ok(Many::Count(count))
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<Many<T>, E> {
                Size::deserialize(StrDeserializer::new(text)).map(|s| Many::List(vec![OrSize::Size(s)]))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Many<T>, A::Error> {
                let mut list = Vec::new();
                while let Some(one) = seq.next_element()? {
                    list.push(one);
                }
                Ok(Many::List(list))
            }
        }
        deserializer.deserialize_any(Of(PhantomData))
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for OrSize<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Of<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Of<T> {
            type Value = OrSize<T>;
            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("a size, or fields")
            }
            fn visit_u64<E: Error>(self, bytes: u64) -> Result<OrSize<T>, E> {
                Ok(OrSize::Size(Size(bytes)))
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<OrSize<T>, E> {
                Size::deserialize(StrDeserializer::new(text)).map(OrSize::Size)
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<OrSize<T>, A::Error> {
                T::deserialize(MapAccessDeserializer::new(map)).map(OrSize::Whole)
            }
        }
        deserializer.deserialize_any(Of(PhantomData))
    }
}
