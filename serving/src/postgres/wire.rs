//! Frames of the protocol: messages in and out of a stream, none longer than a bound.

use std::panic::{AssertUnwindSafe, catch_unwind};

use bytes::BytesMut;
use futures::{SinkExt, StreamExt};
use pgwire::{
    error::PgWireError,
    messages::{DecodeContext, PgWireBackendMessage, PgWireFrontendMessage, ProtocolVersion, response::ErrorResponse},
};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::codec::{Decoder, Encoder, Framed};

use super::fault::Fault;
use crate::listen::Patient;

/// A stream in both directions, encrypted or not.
pub(super) trait Duplex: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Duplex for T {}

/// The messages of one client.
pub(super) type Wire = Framed<Patient<Box<dyn Duplex>>, Codec>;

/// Why a session ends, or a statement does.
#[derive(Debug)]
pub(super) enum Stop {
    /// The statement is at fault.
    Fault(Fault),
    /// The client is gone, or cannot be understood.
    Gone,
}

impl From<Fault> for Stop {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

impl From<PgWireError> for Stop {
    fn from(_: PgWireError) -> Self {
        Self::Gone
    }
}

/// See the module.
#[derive(Debug)]
pub(super) struct Codec {
    context: DecodeContext,
    most: usize,
}

impl Codec {
    /// Messages of a client that has not said who it is.
    pub(super) fn new(most: usize) -> Self {
        let mut context = DecodeContext::new(ProtocolVersion::PROTOCOL3_0);
        context.awaiting_frontend_ssl = false;
        Self { context, most }
    }

    /// From now on messages say their kind.
    pub(super) fn started(&mut self, version: ProtocolVersion) {
        self.context.protocol_version = version;
        self.context.awaiting_frontend_startup = false;
    }
}

/// The longest first message: a client's name and settings.
const STARTUP_BYTES_MAX: usize = 10_000;

impl Decoder for Codec {
    type Item = PgWireFrontendMessage;
    type Error = PgWireError;

    fn decode(&mut self, bytes: &mut BytesMut) -> Result<Option<Self::Item>, PgWireError> {
        let (start, most) = match self.context.awaiting_frontend_startup {
            true => (0, STARTUP_BYTES_MAX.min(self.most)),
            false => (1, self.most),
        };
        let Some(length) = bytes.get(start..start + 4) else { return Ok(None) };
        let length = u32::from_be_bytes(length.try_into().expect("these are four bytes")) as usize;
        if length > most {
            return Err(PgWireError::MessageTooLarge(most, length));
        }
        if bytes.len() < start + length {
            return Ok(None);
        }
        // Its parts are read without being looked at for length: what is malformed makes that panic.
        let decoded = catch_unwind(AssertUnwindSafe(|| PgWireFrontendMessage::decode(bytes, &self.context)));
        decoded.unwrap_or(Err(PgWireError::InvalidStartupMessage))
    }
}

impl Encoder<PgWireBackendMessage> for Codec {
    type Error = PgWireError;

    fn encode(&mut self, message: PgWireBackendMessage, bytes: &mut BytesMut) -> Result<(), PgWireError> {
        message.encode(bytes)
    }
}

/// The next message; `None` if the client left. What cannot be understood is told, and ends the session.
pub(super) async fn next(wire: &mut Wire) -> Option<PgWireFrontendMessage> {
    match wire.next().await? {
        Ok(PgWireFrontendMessage::Terminate(_)) => None,
        Ok(message) => Some(message),
        Err(PgWireError::IoError(_)) => None,
        Err(PgWireError::MessageTooLarge(most, length)) => {
            let message = format!("a message of {length} bytes, there may be {most} (`serving.query_size`)");
            fatal(wire, Fault::new("54000", message)).await;
            None
        }
        Err(_) => {
            fatal(wire, Fault::new("08P01", "malformed message")).await;
            None
        }
    }
}

/// Tells why the session ends.
pub(super) async fn fatal(wire: &mut Wire, fault: Fault) {
    let message = ErrorResponse::from(fault.info("", "FATAL"));
    // It ends either way.
    let _ = wire.send(PgWireBackendMessage::ErrorResponse(message)).await;
}
