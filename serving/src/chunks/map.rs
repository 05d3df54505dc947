//! Mapping a file of the cache into memory. The only unsafe code of this crate; it decides nothing.

use std::{fs::File, io};

use bytes::Bytes;
use memmap2::MmapOptions;

/// The bytes of `file`, a whole file of the cache, without reading them. They stay as long as anything holds them, whatever becomes
/// of the file's name.
pub(super) fn map(file: &File) -> io::Result<Bytes> {
    // SAFETY: a mapping is sound as long as nobody changes or shortens the file. Files of the cache are in a directory that nobody but
    // this user may enter and that this process holds a lock of; they are written to under another name, get their own by a rename when
    // they are whole, and are never opened for writing again. Eviction unlinks them, which leaves mapped pages as they are.
    let mapped = unsafe { MmapOptions::new().map(file) }?;
    Ok(Bytes::from_owner(mapped))
}
