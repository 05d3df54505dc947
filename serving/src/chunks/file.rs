//! The file of a chunk in the cache: its table as an Arrow IPC file, whose columns can be used where they lie, and a trailer with the
//! checksum of that. It is never trusted: a file that is not whole is as good as none.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, BufWriter, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
    sync::Arc,
};

use arrow::{array::RecordBatch, buffer::Buffer, error::ArrowError};
use arrow_ipc::{
    Block,
    convert::fb_to_schema,
    reader::{FileDecoder, read_footer_length},
    root_as_footer,
    writer::FileWriter,
};
use xxhash_rust::xxh3::{Xxh3, xxh3_64};

use super::map::map;

/// What a file ends with. Another layout of tables is another word, and files of the old one are made anew.
const WORD: [u8; 8] = *b"hwchunk1";

/// The checksum of all before, XXH3-64, little-endian, and [`WORD`].
const TRAILER: usize = 8 + WORD.len();

/// What an Arrow IPC file ends with: the length of its footer, and its own word.
const FOOTER_END: usize = 10;

/// Why a file has no table.
#[derive(Debug, thiserror::Error)]
pub(super) enum Fault {
    /// There is none.
    #[error("there is none")]
    Missing,
    /// It is not what was written.
    #[error("it is damaged: {0}")]
    Damaged(String),
    /// The disk failed.
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl From<ArrowError> for Fault {
    fn from(error: ArrowError) -> Self {
        Self::Damaged(error.to_string())
    }
}

/// Writes `table` as the file `path`: whole, or not at all. Not synced, since what a crash leaves of it is found by the checksum.
pub(super) fn write(path: &Path, table: &RecordBatch) -> Result<(), Fault> {
    let unfinished = path.with_extension(super::UNFINISHED);
    let written = written(&unfinished, table).and_then(|()| Ok(fs::rename(&unfinished, path)?));
    if written.is_err() {
        drop(fs::remove_file(&unfinished));
    }
    written
}

fn written(path: &Path, table: &RecordBatch) -> Result<(), Fault> {
    let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    let failed = |error: ArrowError| Fault::Io(io::Error::other(error));
    let hashed = Hashed { file: BufWriter::with_capacity(1 << 20, file), hash: Xxh3::new() };
    let mut writer = FileWriter::try_new(hashed, &table.schema()).map_err(failed)?;
    writer.write(table).and_then(|()| writer.finish()).map_err(failed)?;
    let Hashed { mut file, hash } = writer.into_inner().map_err(failed)?;
    file.write_all(&hash.digest().to_le_bytes())?;
    file.write_all(&WORD)?;
    Ok(file.flush()?)
}

struct Hashed {
    file: BufWriter<File>,
    hash: Xxh3,
}

impl Write for Hashed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let length = self.file.write(bytes)?;
        self.hash.update(&bytes[..length]);
        Ok(length)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// The table in the file `path`, mapped, after its bytes were found to be those that were written; and how many they are.
pub(super) fn open(path: &Path) -> Result<(RecordBatch, u64), Fault> {
    let file = File::open(path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => Fault::Missing,
        _ => Fault::Io(error),
    })?;
    let damaged = |what: &str| Fault::Damaged(what.to_owned());
    let length = file.metadata()?.len();
    if length < (TRAILER + FOOTER_END) as u64 {
        return Err(damaged("it is cut off"));
    }
    let bytes = map(&file)?;
    let (content, trailer) = bytes.split_at(bytes.len() - TRAILER);
    let (checksum, word) = trailer.split_at(8);
    if word != WORD {
        return Err(damaged("it is cut off, or of another release"));
    }
    if checksum != xxh3_64(content).to_le_bytes() {
        return Err(damaged("its checksum is another"));
    }
    let content = bytes.slice(..content.len());
    Ok((table(&Buffer::from(content))?, length))
}

/// The one table in an Arrow IPC file, whose columns stay where they are.
fn table(file: &Buffer) -> Result<RecordBatch, Fault> {
    let damaged = |what: &str| Fault::Damaged(what.to_owned());
    let end = file.len() - FOOTER_END;
    let length = read_footer_length(file[end..].try_into().expect("it is so long"))?;
    let footer = file.get(end.saturating_sub(length)..end).unwrap_or_default();
    let footer = root_as_footer(footer).map_err(|error| Fault::Damaged(error.to_string()))?;
    let schema = Arc::new(fb_to_schema(footer.schema().ok_or_else(|| damaged("it has no schema"))?));
    let mut decoder = FileDecoder::new(schema, footer.version()).with_require_alignment(true);
    for block in footer.dictionaries().iter().flatten() {
        decoder.read_dictionary(block, &part(file, block)?)?;
    }
    let batches = footer.recordBatches().unwrap_or_default();
    let block = batches.iter().next().filter(|_| batches.len() == 1).ok_or_else(|| damaged("it has not one table"))?;
    let table = decoder.read_record_batch(block, &part(file, block)?)?;
    table.ok_or_else(|| damaged("it has no table"))
}

fn part(file: &Buffer, block: &Block) -> Result<Buffer, Fault> {
    let (offset, length) = (block.offset(), i64::from(block.metaDataLength()) + block.bodyLength());
    let within = usize::try_from(offset).ok().zip(usize::try_from(length).ok());
    let within = within.filter(|(offset, length)| offset.checked_add(*length).is_some_and(|end| end <= file.len()));
    let (offset, length) = within.ok_or_else(|| Fault::Damaged("a part is outside of it".to_owned()))?;
    Ok(file.slice_with_length(offset, length))
}
