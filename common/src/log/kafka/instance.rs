//! Who this reader is to its consumer group, the same after a crash: a static member (KIP-345), which the group gives its
//! partitions back to at once in place of waiting until the session of the one that died has timed out.
//!
//! Readers of one group on one machine take seats, the lowest that is free. A seat is a lock of a file, which the system takes
//! back when its holder dies, however that happens; one that is only frozen keeps it.

use std::{
    env,
    fs::{self, File, TryLockError},
    path::{Path, PathBuf},
};

use tracing::warn;

/// Readers of one group on one machine that have a seat; more of them are members without a lasting name.
const SEATS_MAX: u32 = 1024;

/// A seat, given up when dropped.
#[derive(Debug)]
pub(super) struct Seat {
    /// The group.
    pub(super) group: String,
    /// The name of the member. Different on every machine, and for every reader of the group that lives.
    pub(super) instance: String,
    _lock: File,
}

impl Seat {
    /// Whether the member `id`, which a group makes of the name and a random rest, sits here.
    pub(super) fn is(&self, id: &str) -> bool {
        id.strip_prefix(self.instance.as_str()).is_some_and(|rest| rest.starts_with('-'))
    }

    /// The lowest free seat of `group` on this machine; `None` where the machine has no name or no place for locks, and a
    /// reader is a member without a lasting name then.
    pub(super) fn take(group: &str) -> Option<Self> {
        let host = hostname()?;
        Self::take_in(&env::temp_dir().join("highwater-seats"), &host, group)
    }

    fn take_in(directory: &Path, host: &str, group: &str) -> Option<Self> {
        let opened = (0..SEATS_MAX).map(|number| {
            let file = directory.join(format!("{}-{number}.lock", group.replace('/', "_")));
            (number, open(directory, file))
        });
        for (number, file) in opened {
            let held = file.and_then(|file| match file.try_lock() {
                Ok(()) => Ok(Some(file)),
                Err(TryLockError::WouldBlock) => Ok(None),
                Err(TryLockError::Error(error)) => Err(error),
            });
            match held {
                Ok(Some(lock)) => {
                    let instance = format!("{host}-{number}");
                    return Some(Self { group: group.to_owned(), instance, _lock: lock });
                }
                Ok(None) => {}
                Err(error) => {
                    let directory = directory.display();
                    warn!(%directory, %error, "no seat, after a crash the group waits until the session has timed out");
                    return None;
                }
            }
        }
        None
    }
}

fn open(directory: &Path, file: PathBuf) -> std::io::Result<File> {
    fs::create_dir_all(directory)?;
    File::options().create(true).truncate(false).write(true).open(file)
}

/// The machine's name, as Linux or else the shell has it.
fn hostname() -> Option<String> {
    let told = fs::read_to_string("/proc/sys/kernel/hostname").ok().or_else(|| env::var("HOSTNAME").ok())?;
    let name = told.trim();
    (!name.is_empty()).then(|| name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_that_died_comes_back_to_its_seat_and_the_living_keep_theirs() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let take = |group: &str| Seat::take_in(folder.path(), "host", group).expect("the folder is writable");
        let (first, second) = (take("orders"), take("orders"));
        assert_eq!([&first.instance, &second.instance], ["host-0", "host-1"]);
        assert_eq!(take("a/b").instance, "host-0");
        drop(first);
        assert_eq!(take("orders").instance, "host-0");
        assert!(second.is("host-1-5d0f") && !second.is("host-10-5d0f"));
    }

    #[test]
    fn without_a_place_for_locks_there_is_no_seat() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let file = folder.path().join("file");
        fs::write(&file, "").expect("the folder is writable");
        assert!(Seat::take_in(&file, "host", "orders").is_none());
    }
}
