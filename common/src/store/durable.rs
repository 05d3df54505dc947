//! Objects as files on a local disk, durable when a put returns.
//!
//! `object_store`'s own local file system never calls fsync: after a power failure an object whose put has returned may be
//! gone, or be there and empty. Here a put writes a staged file beside the object, fsyncs it, gives it the object's name in
//! one step (a hard link to create, a rename to replace) and fsyncs the directory. So an object is never half visible, and
//! what a crash leaves behind is at most a staged file, whose name listings pass over. Reads, listings and removals are
//! `object_store`'s.

use std::{
    collections::HashSet,
    fmt,
    fs::{File, OpenOptions},
    io::{self, ErrorKind, Write},
    ops::Range,
    os::unix::fs::FileExt,
    path::{Path as FilePath, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use async_trait::async_trait;
use bytes::Bytes;
use futures::{FutureExt, stream::BoxStream};
use object_store::{
    CopyMode, CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    ObjectStoreExt, PutMode, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result, UploadPart,
    local::LocalFileSystem, path::Path,
};

const STORE: &str = "DurableFiles";

/// Objects as files below one directory.
#[derive(Debug)]
pub(super) struct DurableFiles {
    files: LocalFileSystem,
    directories: Arc<Directories>,
}

impl DurableFiles {
    /// The objects below `root`, which is made if it is not there.
    pub(super) fn open(root: &FilePath) -> Result<Self> {
        make_directory(root).map_err(|source| failed("make the directory", root, source))?;
        let root = root.canonicalize().map_err(|source| failed("find", root, source))?;
        let files = LocalFileSystem::new_with_prefix(&root)?;
        Ok(Self { files, directories: Arc::new(Directories { root, durable: Mutex::default() }) })
    }

    /// Removes the staged files that were written before `before_us`; returns how many.
    pub(super) async fn remove_staged(&self, before_us: i64) -> Result<u64> {
        let root = self.directories.root.clone();
        let since = Duration::from_micros(u64::try_from(before_us).unwrap_or(0));
        blocking(move || {
            remove_staged(&root, UNIX_EPOCH + since).map_err(|source| failed("remove staged files of", &root, source))
        })
        .await
    }

    /// Makes durable what can be seen directly in `prefix`.
    pub(super) async fn settle(&self, prefix: &Path) -> Result<()> {
        let directory = self.files.path_to_filesystem(prefix)?;
        let directories = Arc::clone(&self.directories);
        blocking(move || {
            let made = directories.ensure(&directory).and_then(|()| sync_directory(&directory));
            made.map_err(|source| failed("fsync", &directory, source))
        })
        .await
    }
}

/// Whether a file of this name is staged: `#` and digits at the end.
fn is_staged(name: &str) -> bool {
    let number = name.rsplit_once('#').map(|(_, number)| number);
    number.is_some_and(|number| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()))
}

/// Removes the staged files below `directory` that were written before `before`; returns how many.
fn remove_staged(directory: &FilePath, before: SystemTime) -> io::Result<u64> {
    let mut removed = 0;
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        let found = match entry.metadata() {
            Ok(metadata) if metadata.is_dir() => {
                removed += remove_staged(&entry.path(), before)?;
                continue;
            }
            Ok(metadata) => metadata,
            // Its put has ended meanwhile.
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        if is_staged(&entry.file_name().to_string_lossy()) && found.modified()? < before {
            std::fs::remove_file(entry.path())?;
            removed += 1;
        }
    }
    Ok(removed)
}

/// The directories below the root that this process knows to be durable themselves: made, and fsynced in their parents.
#[derive(Debug)]
struct Directories {
    root: PathBuf,
    durable: Mutex<HashSet<PathBuf>>,
}

impl Directories {
    /// Makes `directory`, and sees to it that neither it nor one above it can be lost. Another process may have made one
    /// and not yet fsynced it, so each is fsynced once by this process too.
    fn ensure(&self, directory: &FilePath) -> io::Result<()> {
        if directory == self.root || self.durable().contains(directory) {
            return Ok(());
        }
        let parent = directory.parent().ok_or(ErrorKind::NotFound)?;
        self.ensure(parent)?;
        match std::fs::create_dir(directory) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(error),
            _ => sync_directory(parent)?,
        }
        self.durable().insert(directory.to_owned());
        Ok(())
    }

    fn durable(&self) -> std::sync::MutexGuard<'_, HashSet<PathBuf>> {
        self.durable.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Makes `directory` and those above it that are missing, each fsynced in its parent.
fn make_directory(directory: &FilePath) -> io::Result<()> {
    if directory.is_dir() {
        return Ok(());
    }
    let parent = directory.parent().ok_or(ErrorKind::NotFound)?;
    make_directory(parent)?;
    match std::fs::create_dir(directory) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(error),
        _ => sync_directory(parent),
    }
}

fn sync_directory(directory: &FilePath) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

/// A file beside the object that it is to become. Removed when dropped, unless a crash comes first.
#[derive(Debug)]
struct Staged {
    file: File,
    path: PathBuf,
    object: PathBuf,
}

impl Staged {
    fn create(object: PathBuf, directories: &Directories) -> Result<Self> {
        let directory = object.parent().ok_or_else(|| failed("place", &object, ErrorKind::NotFound.into()))?;
        directories.ensure(directory).map_err(|source| failed("make the directory of", &object, source))?;
        // `#` and digits at the end is what `LocalFileSystem` passes over in listings and refuses as an object's name.
        let mut path = object.clone().into_os_string();
        path.push(format!("#{}", uuid::Uuid::new_v4().as_u64_pair().0));
        let path = PathBuf::from(path);
        let created = OpenOptions::new().write(true).create_new(true).open(&path);
        let file = created.map_err(|source| failed("stage", &object, source))?;
        Ok(Self { file, path, object })
    }

    fn write(&mut self, payload: &PutPayload) -> Result<()> {
        let written = payload.iter().try_for_each(|chunk| self.file.write_all(chunk));
        written.map_err(|source| failed("write", &self.object, source))
    }

    /// Makes the staged file the object: first the content is durable, then it is visible, then its name is durable.
    fn publish(self, replace: bool) -> Result<PutResult> {
        self.file.sync_all().map_err(|source| failed("fsync", &self.object, source))?;
        let named = if replace {
            std::fs::rename(&self.path, &self.object)
        } else {
            std::fs::hard_link(&self.path, &self.object).and_then(|()| std::fs::remove_file(&self.path))
        };
        let found = match named {
            Err(source) if source.kind() != ErrorKind::AlreadyExists => {
                return Err(failed("name", &self.object, source));
            }
            named => named,
        };
        let directory = self.object.parent().expect("a staged file was created in a directory");
        // An object found there may be of a process that was killed before this step: make it durable before saying so.
        sync_directory(directory).map_err(|source| failed("fsync the directory of", &self.object, source))?;
        match found {
            Ok(()) => Ok(PutResult { e_tag: None, version: None }),
            Err(source) => {
                Err(Error::AlreadyExists { path: self.object.display().to_string(), source: Box::new(source) })
            }
        }
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        // After a rename there is nothing to remove; a file that stays is passed over by listings.
        let _ = std::fs::remove_file(&self.path);
    }
}

fn failed(action: &str, path: &FilePath, source: io::Error) -> Error {
    let message = format!("failed to {action} {}: {source}", path.display());
    Error::Generic { store: STORE, source: io::Error::new(source.kind(), message).into() }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work).await?
}

impl fmt::Display for DurableFiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{STORE}({})", self.directories.root.display())
    }
}

#[async_trait]
impl ObjectStore for DurableFiles {
    async fn put_opts(&self, location: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        let replace = match options.mode {
            PutMode::Overwrite => true,
            PutMode::Create => false,
            PutMode::Update(_) => {
                return Err(Error::NotImplemented {
                    operation: "put_opts to update".into(),
                    implementer: STORE.into(),
                });
            }
        };
        let object = self.files.path_to_filesystem(location)?;
        let directories = Arc::clone(&self.directories);
        blocking(move || {
            let mut staged = Staged::create(object, &directories)?;
            staged.write(&payload)?;
            staged.publish(replace)
        })
        .await
    }

    async fn put_multipart_opts(&self, location: &Path, _: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        let object = self.files.path_to_filesystem(location)?;
        let directories = Arc::clone(&self.directories);
        let staged = blocking(move || Staged::create(object, &directories)).await?;
        Ok(Box::new(Upload { staged: Some(Arc::new(staged)), next: 0 }))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.files.get_opts(location, options).await
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.files.get_ranges(location, ranges).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.files.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.files.list(prefix)
    }

    fn list_with_offset(&self, prefix: Option<&Path>, offset: &Path) -> BoxStream<'static, Result<ObjectMeta>> {
        self.files.list_with_offset(prefix, offset)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.files.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        let bytes = self.files.get(from).await?.bytes().await?;
        let mode = match options.mode {
            CopyMode::Overwrite => PutMode::Overwrite,
            CopyMode::Create => PutMode::Create,
        };
        self.put_opts(to, bytes.into(), mode.into()).await.map(|_| ())
    }
}

/// An upload in parts into one staged file.
#[derive(Debug)]
struct Upload {
    staged: Option<Arc<Staged>>,
    next: u64,
}

impl Upload {
    fn take(&mut self) -> Result<Arc<Staged>> {
        self.staged.take().ok_or_else(closed)
    }
}

fn closed() -> Error {
    Error::Generic { store: STORE, source: "the upload was completed or aborted before".into() }
}

#[async_trait]
impl MultipartUpload for Upload {
    fn put_part(&mut self, payload: PutPayload) -> UploadPart {
        let Some(staged) = self.staged.clone() else { return async { Err(closed()) }.boxed() };
        let mut offset = self.next;
        self.next += payload.content_length() as u64;
        blocking(move || {
            for chunk in &payload {
                let written = staged.file.write_all_at(chunk, offset);
                written.map_err(|source| failed("write", &staged.object, source))?;
                offset += chunk.len() as u64;
            }
            Ok(())
        })
        .boxed()
    }

    async fn complete(&mut self) -> Result<PutResult> {
        // Parts that are still being written hold the file; the contract is that all have returned.
        let staged = Arc::try_unwrap(self.take()?);
        let staged = staged.map_err(|_| Error::Generic { store: STORE, source: "a part is being written".into() })?;
        blocking(move || staged.publish(true)).await
    }

    async fn abort(&mut self) -> Result<()> {
        self.take().map(drop)
    }
}
