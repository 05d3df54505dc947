//! The wire format ("Encoding" in Protobuf's documentation): tags, varints, lengths, groups. Nothing is believed.

use super::super::plan::Wrong;
use crate::limits::JSON_DEPTH_MAX;

pub(super) type Result<T> = std::result::Result<T, Wrong>;

/// How a field's value is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wire {
    Varint,
    Fixed64,
    Bytes,
    Fixed32,
    /// A group, which ends with a tag of its own.
    Group,
}

/// A part of a value that is being read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cursor<'v> {
    pub(super) value: &'v [u8],
    pub(super) at: usize,
    /// Where the message being read ends.
    pub(super) end: usize,
}

impl<'v> Cursor<'v> {
    /// All of `value`.
    pub(super) fn new(value: &'v [u8]) -> Self {
        Self { value, at: 0, end: value.len() }
    }

    #[inline]
    pub(super) fn is_at_end(&self) -> bool {
        self.at == self.end
    }

    pub(super) fn wrong(&self, allowed: &'static str) -> Wrong {
        Wrong { at: self.at, allowed }
    }

    /// The number of the next field, and how its value is written.
    #[inline]
    pub(super) fn tag(&mut self) -> Result<(u32, Wire)> {
        let (number, wire) = self.raw_tag()?;
        let wire = match wire {
            0 => Wire::Varint,
            1 => Wire::Fixed64,
            2 => Wire::Bytes,
            3 => Wire::Group,
            5 => Wire::Fixed32,
            _ => return Err(self.wrong("a field")),
        };
        Ok((number, wire))
    }

    #[inline]
    fn raw_tag(&mut self) -> Result<(u32, u8)> {
        let at = self.at;
        let tag = u32::try_from(self.varint()?).ok().filter(|tag| *tag >= 8);
        tag.map(|tag| (tag >> 3, (tag & 7) as u8)).ok_or(Wrong { at, allowed: "the number of a field" })
    }

    /// Up to ten groups of seven bits, the lowest first; what is beyond 64 bits is cut off, as Protobuf has it.
    #[inline]
    pub(super) fn varint(&mut self) -> Result<u64> {
        let mut value = 0_u64;
        for shift in (0..70).step_by(7) {
            let Some(&byte) = self.value[..self.end].get(self.at) else {
                return Err(self.wrong("as many bytes as the value needs"));
            };
            self.at += 1;
            value |= u64::from(byte & 0x7F) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(self.wrong("a varint of at most ten bytes"))
    }

    #[inline]
    pub(super) fn take(&mut self, length: usize) -> Result<&'v [u8]> {
        let taken = self.value[self.at..self.end].get(..length);
        let taken = taken.ok_or_else(|| self.wrong("as many bytes as the value needs"))?;
        self.at += length;
        Ok(taken)
    }

    #[inline]
    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        Ok(*self.take(N)?.first_chunk().expect("as many bytes were taken"))
    }

    /// Passes over bytes with their length before them, and gives a cursor of them.
    #[inline]
    pub(super) fn bytes(&mut self) -> Result<Cursor<'v>> {
        let length = self.varint()?;
        let start = self.at;
        let left = self.end - start;
        let length = usize::try_from(length).ok().filter(|length| *length <= left);
        let length = length.ok_or_else(|| self.wrong("as many bytes as the value needs"))?;
        self.at = start + length;
        Ok(Cursor { value: self.value, at: start, end: self.at })
    }

    /// What is left to read.
    #[inline]
    pub(super) fn rest(&self) -> &'v [u8] {
        &self.value[self.at..self.end]
    }

    /// Passes over the value of a field of this number.
    #[inline]
    pub(super) fn skip(&mut self, number: u32, wire: Wire) -> Result<()> {
        match wire {
            Wire::Varint => self.varint().map(drop),
            Wire::Fixed64 => self.take(8).map(drop),
            Wire::Bytes => self.bytes().map(drop),
            Wire::Fixed32 => self.take(4).map(drop),
            Wire::Group => self.skip_group(number),
        }
    }

    fn skip_group(&mut self, number: u32) -> Result<()> {
        let mut open = vec![number];
        while let Some(&innermost) = open.last() {
            match self.raw_tag()? {
                (number, 4) if number == innermost => drop(open.pop()),
                (_, 4) => return Err(self.wrong("the end of the group that is open")),
                (number, 3) if open.len() < JSON_DEPTH_MAX as usize => open.push(number),
                (_, 3) => return Err(self.wrong("less nesting")),
                (_, 0) => self.skip(0, Wire::Varint)?,
                (_, 1) => self.skip(0, Wire::Fixed64)?,
                (_, 2) => self.skip(0, Wire::Bytes)?,
                (_, 5) => self.skip(0, Wire::Fixed32)?,
                _ => return Err(self.wrong("a field")),
            }
        }
        Ok(())
    }
}
