//! How a client comes in: TLS if it is spoken here, its name, its proof that it knows the password.

use std::{
    collections::BTreeMap,
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
};

use bytes::BytesMut;
use common::limits::STARTUP_TIMEOUT;
use futures::SinkExt;
use pgwire::messages::{
    PgWireBackendMessage, PgWireFrontendMessage, ProtocolVersion,
    startup::{
        Authentication, BackendKeyData, NegotiateProtocolVersion, ParameterStatus, PasswordMessageFamily, SecretKey,
        Startup,
    },
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_util::{
    codec::{Framed, FramedParts},
    sync::CancellationToken,
};
use tracing::{info, warn};

use super::{
    Running, Server,
    fault::Fault,
    scram::{self, Exchange},
    session::Session,
    settings::{REPORTED, Settings},
    wire::{self, Codec, Duplex, Stop, Wire},
};
use crate::{
    access::{Access, Asker, Right},
    listen::Patient,
};

/// Serves one connection to its end.
pub(super) async fn serve(server: Arc<Server>, stream: TcpStream, from: SocketAddr, stop: CancellationToken) {
    let opened = tokio::time::timeout(STARTUP_TIMEOUT, open(&server, stream));
    let Ok(Ok(Some((mut wire, startup)))) = opened.await else { return };
    let welcomed = tokio::time::timeout(STARTUP_TIMEOUT, welcome(&server, &mut wire, &startup));
    let (asker, settings, version) = match welcomed.await {
        Ok(Ok(welcomed)) => welcomed,
        Ok(Err(Stop::Fault(fault))) => {
            warn!(target: "audit", %from, user = startup.parameters.get("user"), why = fault.message, "connection refused");
            return wire::fatal(&mut wire, fault).await;
        }
        Ok(Err(Stop::Gone)) | Err(_) => return,
    };
    info!(target: "audit", who = asker.name(), %from, "connected over Postgres' protocol");
    let statement = Arc::new(Mutex::new(CancellationToken::new()));
    let Ok(registered) = Registered::new(&server, version, Arc::clone(&statement)) else { return };
    let mut session = Session::new(Arc::clone(&server), asker, settings, startup_database(&startup), statement);
    if began(&mut wire, &session, &registered).await.is_ok() {
        session.run(&mut wire, &stop).await;
    }
}

fn startup_database(startup: &Startup) -> String {
    let named = startup.parameters.get("database").or_else(|| startup.parameters.get("user"));
    named.cloned().unwrap_or_default()
}

/// The stream, encrypted if both sides will, and the client's first message; `None` if it only came to cancel, or in vain.
async fn open(server: &Server, mut stream: TcpStream) -> io::Result<Option<(Wire, Startup)>> {
    const TLS_HANDSHAKE: u8 = 0x16;
    const SSL_REQUEST: u32 = 80_877_103;
    const GSS_REQUEST: u32 = 80_877_104;
    stream.set_nodelay(true)?;
    let mut first = [0; 1];
    stream.peek(&mut first).await?;
    let (mut read, mut encrypted) = (BytesMut::new(), false);
    let stream: Box<dyn Duplex> = match (&server.tls, first[0]) {
        (Some(tls), TLS_HANDSHAKE) => {
            encrypted = true;
            Box::new(tls.accept(stream).await?)
        }
        _ => loop {
            // Exactly these bytes: what comes after an answer has to be read by TLS.
            let mut head = [0; 8];
            stream.read_exact(&mut head).await?;
            let code = u32::from_be_bytes([head[4], head[5], head[6], head[7]]);
            match (code, &server.tls) {
                (SSL_REQUEST, Some(tls)) => {
                    stream.write_all(b"S").await?;
                    encrypted = true;
                    break Box::new(tls.accept(stream).await?);
                }
                (SSL_REQUEST | GSS_REQUEST, _) => stream.write_all(b"N").await?,
                _ => {
                    read.extend_from_slice(&head);
                    break Box::new(stream);
                }
            }
        },
    };
    let most = usize::try_from(server.served.limits().size.as_u64()).unwrap_or(usize::MAX);
    let mut parts = FramedParts::new::<PgWireBackendMessage>(Patient::new(stream), Codec::new(most));
    parts.read_buf = read;
    let mut wire = Framed::from_parts(parts);
    match wire::next(&mut wire).await {
        Some(PgWireFrontendMessage::CancelRequest(request)) => {
            server.cancel(request.pid, &request.secret_key.to_bytes());
            Ok(None)
        }
        Some(PgWireFrontendMessage::Startup(_)) if server.tls.is_some() && !encrypted => {
            wire::fatal(&mut wire, Fault::new("28000", "connections are encrypted here: sslmode=require")).await;
            Ok(None)
        }
        Some(PgWireFrontendMessage::Startup(startup)) => Ok(Some((wire, startup))),
        _ => Ok(None),
    }
}

/// Finds out who the client is, and whether it may come in.
async fn welcome(
    server: &Server,
    wire: &mut Wire,
    startup: &Startup,
) -> Result<(Asker, Settings, ProtocolVersion), Stop> {
    let version = versioned(wire, startup).await?;
    let parameters = &startup.parameters;
    let user = parameters.get("user").ok_or_else(|| Fault::new("28000", "no user name was sent"))?;
    if parameters.get("replication").is_some_and(|asked| asked != "false") {
        return Err(Fault::unsupported("replication").into());
    }
    wire.codec_mut().started(version);
    let asker = match server.access.is_open() {
        true => Asker::default(),
        false => proved(server, wire, user).await?,
    };
    server.access.admit(&asker, Right::Read).map_err(Fault::from)?;
    Ok((asker, settings(user, parameters)?, version))
}

/// The settings that the client comes with.
fn settings(user: &str, parameters: &BTreeMap<String, String>) -> Result<Settings, Fault> {
    let mut settings = Settings::new(user);
    for (name, value) in parameters {
        match name.as_str() {
            "user" | "database" | "replication" => {}
            // As `-c name=value -c name=value`.
            "options" => {
                let options = value.split("-c").map(|option| option.trim().trim_start_matches("--"));
                for (name, value) in options.filter_map(|option| option.split_once('=')) {
                    settings.set(name.trim(), Some(&value.trim().replace('\\', "")))?;
                }
            }
            name if name.starts_with("_pq_.") => {}
            name => settings.set(name, Some(value))?,
        }
    }
    Ok(settings)
}

async fn versioned(wire: &mut Wire, startup: &Startup) -> Result<ProtocolVersion, Stop> {
    let (major, minor) = (startup.protocol_number_major, startup.protocol_number_minor);
    if major != 3 {
        return Err(Fault::new("08P01", format!("protocol {major}.{minor} is not spoken here, 3 is")).into());
    }
    let unknown: Vec<String> = startup.parameters.keys().filter(|name| name.starts_with("_pq_.")).cloned().collect();
    let newest = ProtocolVersion::PROTOCOL3_2;
    if minor > newest.version_number().1 || !unknown.is_empty() {
        let spoken = NegotiateProtocolVersion::new(newest.into(), unknown);
        wire.feed(PgWireBackendMessage::NegotiateProtocolVersion(spoken)).await?;
    }
    Ok(if minor == 0 { ProtocolVersion::PROTOCOL3_0 } else { newest })
}

/// The client that proves by SCRAM to know the password of `user`.
async fn proved(server: &Server, wire: &mut Wire, user: &str) -> Result<Asker, Stop> {
    let token = server.access.token(user);
    let verifier = token.and_then(|token| token.scram.clone());
    let verifier = verifier.unwrap_or_else(|| scram::nobody(user, &server.secret));
    let mechanisms = Authentication::SASL(vec![scram::MECHANISM.to_owned()]);
    wire.send(PgWireBackendMessage::Authentication(mechanisms)).await?;
    let first = password(wire).await?.into_sasl_initial_response()?;
    if first.auth_method != scram::MECHANISM {
        return Err(Fault::new("08P01", format!("there is {} only", scram::MECHANISM)).into());
    }
    let exchange = Exchange::begin(&first.data.unwrap_or_default(), verifier)?;
    let challenge = Authentication::SASLContinue(exchange.challenge.clone().into());
    wire.send(PgWireBackendMessage::Authentication(challenge)).await?;
    let last = password(wire).await?.into_sasl_response()?;
    match (exchange.finish(&last.data)?, token) {
        (Some(proof), Some(token)) if token.scram.is_some() => {
            wire.feed(PgWireBackendMessage::Authentication(Authentication::SASLFinal(proof.into()))).await?;
            Ok(Access::proved(token))
        }
        _ => Err(Fault::new("28P01", format!("password authentication failed for user \"{user}\"")).into()),
    }
}

async fn password(wire: &mut Wire) -> Result<PasswordMessageFamily, Stop> {
    match wire::next(wire).await {
        Some(PgWireFrontendMessage::PasswordMessageFamily(message)) => Ok(message),
        Some(_) => Err(Fault::new("08P01", "a password was expected").into()),
        None => Err(Stop::Gone),
    }
}

/// Says that the client is in, and what it has to know.
async fn began(wire: &mut Wire, session: &Session, registered: &Registered<'_>) -> Result<(), Stop> {
    wire.feed(PgWireBackendMessage::Authentication(Authentication::Ok)).await?;
    for name in REPORTED {
        let value = session.settings().get(name).unwrap_or_default().to_owned();
        wire.feed(PgWireBackendMessage::ParameterStatus(ParameterStatus::new(name.to_owned(), value))).await?;
    }
    let key = BackendKeyData::new(registered.number, registered.key.clone());
    wire.feed(PgWireBackendMessage::BackendKeyData(key)).await?;
    session.ready(wire).await
}

/// A connection's place among those that can be told to stop, as long as it is there.
struct Registered<'a> {
    server: &'a Server,
    number: i32,
    key: SecretKey,
}

impl<'a> Registered<'a> {
    fn new(server: &'a Server, version: ProtocolVersion, statement: Arc<Mutex<CancellationToken>>) -> io::Result<Self> {
        let bytes: [u8; 4] = scram::random()?;
        let long: [u8; 32] = scram::random()?;
        let key = match version {
            ProtocolVersion::PROTOCOL3_0 => SecretKey::I32(i32::from_be_bytes(bytes)),
            _ => SecretKey::Bytes(long.to_vec().into()),
        };
        let mut running = server.running.lock().unwrap_or_else(PoisonError::into_inner);
        let number = loop {
            let number = i32::from_be_bytes(scram::random()?) & i32::MAX;
            if !running.contains_key(&number) {
                break number;
            }
        };
        running.insert(number, Running { key: key.to_bytes().to_vec(), statement });
        Ok(Self { server, number, key })
    }
}

impl Drop for Registered<'_> {
    fn drop(&mut self) {
        self.server.running.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.number);
    }
}
