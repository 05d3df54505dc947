//! Taking connections, no more than a bound, from clients that keep going: one that takes none of what it is sent is cut.

use std::{
    future::Future,
    io,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use common::limits::{HTTP_DRAIN_MAX, WRITE_STALL_MAX};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    task::JoinSet,
    time::Sleep,
};
use tokio_util::sync::CancellationToken;
use tracing::warn;

/// Takes connections until `stop` and lets `serve` have each; then waits for those on their way, [`HTTP_DRAIN_MAX`] at most. Of more
/// than `most` at a time, the rest waits to be taken.
///
/// # Errors
/// When the listener fails.
pub(crate) async fn connections<F>(
    listener: TcpListener,
    most: usize,
    stop: &CancellationToken,
    serve: impl Fn(TcpStream, SocketAddr) -> F,
) -> io::Result<()>
where
    F: Future<Output = ()> + Send + 'static,
{
    let room = Arc::new(Semaphore::new(most));
    let mut tasks = JoinSet::new();
    loop {
        let accepted = async {
            let permit = Arc::clone(&room).acquire_owned().await.expect("nobody closes it");
            (listener.accept().await, permit)
        };
        tokio::select! {
            biased;
            () = stop.cancelled() => break,
            Some(_) = tasks.join_next() => {}
            (accepted, permit) = accepted => match accepted {
                Ok((stream, from)) => {
                    let serving = serve(stream, from);
                    tasks.spawn(async move {
                        serving.await;
                        drop(permit);
                    });
                }
                Err(error) if is_of_one(&error) => {}
                Err(error) if is_out_of_files(&error) => {
                    warn!(%error, "no connection can be taken, waiting until one ends");
                    tasks.join_next().await;
                }
                Err(error) => return Err(error),
            },
        }
    }
    drop(listener);
    let drained = async { while tasks.join_next().await.is_some() {} };
    if tokio::time::timeout(HTTP_DRAIN_MAX, drained).await.is_err() {
        warn!("requests were still on their way, their connections are cut");
    }
    Ok(())
}

/// Whether the error is of the connection that would have come.
fn is_of_one(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}

fn is_out_of_files(error: &io::Error) -> bool {
    const EMFILE: i32 = 24;
    const ENFILE: i32 = 23;
    matches!(error.raw_os_error(), Some(EMFILE | ENFILE))
}

/// A stream whose other side has to take what it is sent within [`WRITE_STALL_MAX`].
#[derive(Debug)]
pub(crate) struct Patient<S> {
    stream: S,
    /// How long it may take nothing.
    most: Duration,
    /// When it is cut, while it takes nothing.
    stalled: Option<Pin<Box<Sleep>>>,
}

impl<S> Patient<S> {
    pub(crate) fn new(stream: S) -> Self {
        Self::for_at_most(WRITE_STALL_MAX, stream)
    }

    /// One that is as patient as that.
    pub(crate) fn for_at_most(most: Duration, stream: S) -> Self {
        Self { stream, most, stalled: None }
    }

    /// What `polled` says, or that the other side took nothing for `most`.
    fn within<T>(
        stalled: &mut Option<Pin<Box<Sleep>>>,
        most: Duration,
        cx: &mut Context<'_>,
        polled: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if polled.is_ready() {
            *stalled = None;
            return polled;
        }
        let sleep = stalled.get_or_insert_with(|| Box::pin(tokio::time::sleep(most)));
        match sleep.as_mut().poll(cx) {
            Poll::Ready(()) => Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the client takes nothing"))),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Patient<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Patient<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let Self { stream, most, stalled } = &mut *self;
        let polled = Pin::new(stream).poll_write(cx, buf);
        Self::within(stalled, *most, cx, polled)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let Self { stream, most, stalled } = &mut *self;
        let polled = Pin::new(stream).poll_write_vectored(cx, bufs);
        Self::within(stalled, *most, cx, polled)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Self { stream, most, stalled } = &mut *self;
        let polled = Pin::new(stream).poll_flush(cx);
        Self::within(stalled, *most, cx, polled)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[tokio::test]
    async fn a_client_that_takes_nothing_is_cut() {
        let (ours, mut theirs) = tokio::io::duplex(4);
        let mut ours = Patient::for_at_most(Duration::from_millis(1), ours);
        let error = ours.write_all(&[0; 16]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        theirs.read_exact(&mut [0; 4]).await.unwrap();
    }

    #[tokio::test]
    async fn no_more_connections_than_the_bound_are_taken() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let stop = CancellationToken::new();
        let (stopping, greet) = (stop.clone(), |mut stream: TcpStream, _| async move {
            stream.write_all(b"hello").await.unwrap();
            // Until the client leaves.
            let _ = stream.read(&mut [0]).await;
        });
        let serving = tokio::spawn(async move { connections(listener, 1, &stopping, greet).await });
        let mut hello = [0; 5];
        let mut first = TcpStream::connect(address).await.unwrap();
        first.read_exact(&mut hello).await.unwrap();
        let mut second = TcpStream::connect(address).await.unwrap();
        tokio::select! {
            biased;
            _ = second.read_exact(&mut hello) => panic!("there is room for one"),
            () = tokio::task::yield_now() => {}
        }
        drop(first);
        second.read_exact(&mut hello).await.unwrap();
        drop(second);
        stop.cancel();
        serving.await.unwrap().unwrap();
    }
}
