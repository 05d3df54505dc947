//! The commands that keep what is stored: load history, put small files together, remove what is not needed.

pub(crate) mod args;
mod erase;
mod export;
mod files;
mod load;
mod maintain;

use std::path::Path;

use tokio_util::sync::CancellationToken;

use self::args::Keep;

/// Runs the command.
pub(crate) async fn keep(path: &Path, command: Keep, stop: CancellationToken) -> anyhow::Result<()> {
    match command {
        Keep::Compact(options) => maintain::compact(path, &options, stop).await,
        Keep::Retain(options) => maintain::retain(path, &options, stop).await,
        Keep::Vacuum(options) => maintain::vacuum(path, &options).await,
    }
}

pub(crate) use self::{erase::erase, export::export, load::load};
