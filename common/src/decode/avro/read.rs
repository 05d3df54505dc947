//! The binary encoding of Avro ("Binary Encoding" in its specification), read by a plan. Nothing is believed: not a length, not
//! a count, not a branch.

use super::{
    super::{column::Typed, plan::Wrong},
    plan::{Leaf, Plan, Step, StepId},
};
use crate::limits::JSON_DEPTH_MAX;

type Result<T> = std::result::Result<T, Wrong>;

impl Plan {
    /// Reads `value`, all of it, into `found`, which has a place for each column and [`Typed::Absent`] in it.
    ///
    /// # Errors
    /// Where it is no value of the schema.
    pub(in super::super) fn read<'v>(&'v self, value: &'v [u8], found: &mut [Typed<'v>]) -> Result<()> {
        let mut walk = Walk { plan: self, value, at: 0, found, elements: 0 };
        walk.step(self.root, JSON_DEPTH_MAX)?;
        if walk.at == value.len() { Ok(()) } else { Err(walk.wrong("nothing after the value")) }
    }
}

struct Walk<'v, 'f> {
    plan: &'v Plan,
    value: &'v [u8],
    at: usize,
    found: &'f mut [Typed<'v>],
    /// Elements of arrays and maps so far: they may take no bytes, and claim to be many.
    elements: usize,
}

impl<'v> Walk<'v, '_> {
    fn wrong(&self, allowed: &'static str) -> Wrong {
        Wrong { at: self.at, allowed }
    }

    fn step(&mut self, step: StepId, depth: u32) -> Result<()> {
        let plan = self.plan;
        if depth == 0 {
            return Err(self.wrong("less nesting"));
        }
        match plan.get(step) {
            Step::Leaf { leaf, into } => {
                if into.is_empty() {
                    return self.pass_over(leaf);
                }
                let value = self.leaf(leaf)?;
                into.iter().for_each(|&column| self.found[column] = value);
                Ok(())
            }
            Step::Record(fields) => fields.iter().try_for_each(|&field| self.step(field, depth - 1)),
            Step::Union(branches) => {
                let at = self.at;
                let branch = usize::try_from(self.long()?).ok().and_then(|branch| branches.get(branch));
                match branch {
                    Some(&branch) => self.step(branch, depth - 1),
                    None => Err(Wrong { at, allowed: "the number of a branch of the union" }),
                }
            }
            Step::Array { wanted, others } => {
                let mut index = 0;
                self.blocks(|walk| {
                    let step = wanted.iter().find(|(at, _)| *at == index).map_or(*others, |(_, step)| *step);
                    index += 1;
                    walk.step(step, depth - 1)
                })
            }
            Step::Map { wanted, others } => self.blocks(|walk| {
                let key = walk.bytes()?;
                let step = wanted.iter().find(|(name, _)| name == key).map_or(*others, |(_, step)| *step);
                walk.step(step, depth - 1)
            }),
            Step::Composite { inner, into } => {
                self.step(*inner, depth - 1)?;
                into.iter().for_each(|&column| self.found[column] = Typed::Composite);
                Ok(())
            }
        }
    }

    /// The blocks of an array or a map. A negative count has the block's size in bytes after it.
    fn blocks(&mut self, mut element: impl FnMut(&mut Self) -> Result<()>) -> Result<()> {
        loop {
            let count = self.long()?;
            if count == 0 {
                return Ok(());
            }
            if count < 0 {
                self.long()?;
            }
            for _ in 0..count.unsigned_abs() {
                self.elements += 1;
                if self.elements > self.value.len() {
                    return Err(self.wrong("no more elements than the value has bytes"));
                }
                element(self)?;
            }
        }
    }

    #[inline]
    fn leaf(&mut self, leaf: &'v Leaf) -> Result<Typed<'v>> {
        Ok(match leaf {
            Leaf::Null => Typed::Null,
            Leaf::Boolean => match self.take(1)? {
                [0] => Typed::Bool(false),
                [1] => Typed::Bool(true),
                _ => return Err(Wrong { at: self.at - 1, allowed: "0 or 1 for a boolean" }),
            },
            Leaf::Int => Typed::Int(self.int()?),
            Leaf::Long => Typed::Int(self.long()?),
            Leaf::Instant { micros_per_unit } => {
                let count = self.long()?;
                Typed::Instant(match *micros_per_unit {
                    ..0 => Some(count.div_euclid(-*micros_per_unit)),
                    micros => count.checked_mul(micros),
                })
            }
            Leaf::Float => Typed::Double(f32::from_le_bytes(self.array()?).into()),
            Leaf::Double => Typed::Double(f64::from_le_bytes(self.array()?)),
            Leaf::Bytes | Leaf::String => {
                let (at, bytes) = (self.at, self.bytes()?);
                let text = std::str::from_utf8(bytes).map_err(|_| Wrong { at, allowed: "a text in UTF-8" })?;
                Typed::Text(text)
            }
            // No column takes it.
            Leaf::Fixed(size) => {
                self.take(*size)?;
                Typed::Composite
            }
            Leaf::Decimal { size, scale } => {
                let bytes = match size {
                    Some(size) => self.take(*size)?,
                    None => self.bytes()?,
                };
                Typed::decimal(bytes, *scale)
            }
            Leaf::Uuid => Typed::Uuid(self.array()?),
            Leaf::Enum(symbols) => Typed::Text(self.symbol(symbols)?),
        })
    }

    /// As [`Self::leaf`] of a value that nobody wants. That it is one is checked all the same, but for what a text says.
    #[inline]
    fn pass_over(&mut self, leaf: &'v Leaf) -> Result<()> {
        match leaf {
            Leaf::Bytes | Leaf::String => self.bytes().map(drop),
            Leaf::Float => self.take(4).map(drop),
            Leaf::Double => self.take(8).map(drop),
            leaf => self.leaf(leaf).map(drop),
        }
    }

    fn symbol(&mut self, symbols: &'v [String]) -> Result<&'v str> {
        let at = self.at;
        let symbol = usize::try_from(self.int()?).ok().and_then(|symbol| symbols.get(symbol));
        symbol.map(String::as_str).ok_or(Wrong { at, allowed: "the number of a symbol of the enum" })
    }

    #[inline]
    fn take(&mut self, length: usize) -> Result<&'v [u8]> {
        let taken = self.value.get(self.at..).and_then(|rest| rest.get(..length));
        let taken = taken.ok_or_else(|| self.wrong("as many bytes as the value needs"))?;
        self.at += length;
        Ok(taken)
    }

    #[inline]
    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        Ok(*self.take(N)?.first_chunk().expect("as many bytes were taken"))
    }

    /// Bytes after their length.
    #[inline]
    fn bytes(&mut self) -> Result<&'v [u8]> {
        let at = self.at;
        let length =
            usize::try_from(self.long()?).map_err(|_| Wrong { at, allowed: "a length that is not negative" })?;
        self.take(length)
    }

    #[inline]
    fn int(&mut self) -> Result<i64> {
        let at = self.at;
        let value = self.long()?;
        if i32::try_from(value).is_ok() { Ok(value) } else { Err(Wrong { at, allowed: "a number of 32 bits" }) }
    }

    /// A zigzag number of up to ten groups of seven bits, the lowest first.
    #[inline]
    fn long(&mut self) -> Result<i64> {
        let rest = &self.value[self.at..];
        let (mut encoded, mut read) = (0_u64, 0);
        for &byte in rest.iter().take(10) {
            let bits = u64::from(byte & 0x7F);
            // Of the tenth group only one bit is left.
            if read == 9 && bits > 1 {
                return Err(self.wrong("a number of 64 bits"));
            }
            encoded |= bits << (7 * read);
            read += 1;
            if byte < 0x80 {
                self.at += read;
                return Ok((encoded >> 1) as i64 ^ -((encoded & 1) as i64));
            }
        }
        Err(self.wrong(if read == 10 { "a number of 64 bits" } else { "as many bytes as the value needs" }))
    }
}
