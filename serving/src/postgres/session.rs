//! A session: statements one after the other, at once or prepared, and what it remembers between them.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex},
};

use bytes::BytesMut;
use futures::SinkExt;
use pgwire::{
    api::Type,
    error::ErrorInfo,
    messages::{
        PgWireBackendMessage as Told, PgWireFrontendMessage as Asked,
        data::{DataRow, FieldDescription, RowDescription},
        response::{
            CommandComplete, EmptyQueryResponse, ErrorResponse, NoticeResponse, ReadyForQuery, TransactionStatus,
        },
        startup::ParameterStatus,
    },
};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::{
    Server,
    catalog::Value,
    dialect::Parameter,
    fault::Fault,
    prepared::{Portal, Prepared},
    query::{Answer, Column, Rows},
    settings::{REPORTED, Settings},
    statement::{self, Statement},
    types::Known,
    wire::{self, Stop, Wire},
};
use crate::access::Asker;

/// See the module.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) server: Arc<Server>,
    pub(super) asker: Asker,
    pub(super) settings: Settings,
    pub(super) database: String,
    status: TransactionStatus,
    /// What cancels the statement that runs.
    pub(super) running: Arc<Mutex<CancellationToken>>,
    pub(super) prepared: HashMap<String, Arc<Prepared>>,
    pub(super) portals: HashMap<String, Portal>,
    /// Messages that came while a statement ran.
    pub(super) ahead: VecDeque<Asked>,
    /// Whether messages are passed over until the next sync, since one failed.
    failed: bool,
}

impl Session {
    pub(super) fn new(
        server: Arc<Server>,
        asker: Asker,
        settings: Settings,
        database: String,
        running: Arc<Mutex<CancellationToken>>,
    ) -> Self {
        Self {
            server,
            asker,
            settings,
            database,
            status: TransactionStatus::Idle,
            running,
            prepared: HashMap::new(),
            portals: HashMap::new(),
            ahead: VecDeque::new(),
            failed: false,
        }
    }

    pub(super) fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Says that the next statement may come.
    pub(super) async fn ready(&self, wire: &mut Wire) -> Result<(), Stop> {
        wire.send(Told::ReadyForQuery(ReadyForQuery::new(self.status))).await?;
        Ok(())
    }

    /// Answers until the client leaves, or the server stops.
    pub(super) async fn run(&mut self, wire: &mut Wire, stop: &CancellationToken) {
        loop {
            let message = match self.ahead.pop_front() {
                Some(message) => message,
                None => tokio::select! {
                    () = stop.cancelled() => {
                        return wire::fatal(wire, Fault::new("57P01", "the server is stopping")).await;
                    }
                    message = wire::next(wire) => match message {
                        Some(message) => message,
                        None => return,
                    },
                },
            };
            if self.message(wire, message).await.is_err() {
                return;
            }
        }
    }

    /// Answers one message; an error is the session's end.
    async fn message(&mut self, wire: &mut Wire, message: Asked) -> Result<(), Stop> {
        match message {
            Asked::Query(query) => {
                self.failed = false;
                if let Err(Stop::Fault(fault)) = gone(self.simple(wire, &query.query).await)? {
                    self.told_fault(wire, fault, &query.query).await?;
                }
                self.portals.clear();
                self.ready(wire).await
            }
            Asked::Sync(_) => {
                self.failed = false;
                if self.status == TransactionStatus::Idle {
                    self.portals.clear();
                }
                self.ready(wire).await
            }
            Asked::Flush(_) => Ok(wire.flush().await?),
            message if message.is_extended_query() && !self.failed => {
                let mut sql = String::new();
                if let Err(Stop::Fault(fault)) = gone(self.extended(wire, message, &mut sql).await)? {
                    self.failed = true;
                    self.told_fault(wire, fault, &sql).await?;
                    wire.flush().await?;
                }
                Ok(())
            }
            // Passed over until the next sync, or of a COPY that there is none of.
            _ => Ok(()),
        }
    }

    async fn told_fault(&mut self, wire: &mut Wire, fault: Fault, sql: &str) -> Result<(), Stop> {
        if self.status == TransactionStatus::Transaction {
            self.status = TransactionStatus::Error;
        }
        wire.feed(Told::ErrorResponse(ErrorResponse::from(fault.info(sql, "ERROR")))).await?;
        Ok(())
    }

    /// The statements of a text, one after the other, until one fails.
    async fn simple(&mut self, wire: &mut Wire, sql: &str) -> Result<(), Stop> {
        let statements = statement::statements(sql)?;
        if statements.is_empty() {
            wire.feed(Told::EmptyQueryResponse(EmptyQueryResponse::new())).await?;
        }
        for statement in statements {
            let mut answer = self.execute(wire, &statement, &[], None).await?;
            if let Executed::Rows(answer) = &mut answer {
                let binary = vec![false; answer.columns.len()];
                wire.feed(Told::RowDescription(described(&answer.columns, &binary))).await?;
                self.rows(wire, answer, &binary, 0, usize::MAX).await?;
            }
            wire.feed(Told::CommandComplete(answer.tag())).await?;
        }
        Ok(())
    }

    /// Tells rows `[from, to)` of `answer`.
    pub(super) async fn rows(
        &self,
        wire: &mut Wire,
        answer: &Answer,
        binary: &[bool],
        from: usize,
        to: usize,
    ) -> Result<(), Stop> {
        for row in from..to.min(answer.rows.count()) {
            let mut buffer = BytesMut::new();
            answer.write(row, binary, &self.settings.zone, &mut buffer)?;
            wire.feed(Told::DataRow(DataRow::new(buffer, answer.columns.len() as i16))).await?;
        }
        Ok(())
    }

    /// Whether the statement is let through: in a transaction that failed, only its end is.
    pub(super) fn allowed(&self, statement: &Statement) -> Result<(), Fault> {
        let ends = matches!(statement, Statement::Commit | Statement::Rollback | Statement::RollbackTo);
        if self.status == TransactionStatus::Error && !ends {
            let message = "current transaction is aborted, commands ignored until end of transaction block";
            return Err(Fault::new("25P02", message));
        }
        Ok(())
    }

    /// Runs a statement; `told` are the columns that the client knows already.
    pub(super) async fn execute(
        &mut self,
        wire: &mut Wire,
        statement: &Statement,
        parameters: &[Parameter],
        told: Option<&[Column]>,
    ) -> Result<Executed, Stop> {
        self.allowed(statement)?;
        let done = |tag: &'static str| Ok(Executed::Done(tag));
        match statement {
            Statement::Query(query) => {
                let asked = self.ask(wire, query, parameters, told, false).await;
                match &asked {
                    Ok(_) => info!(target: "audit", who = self.asker.name(), "statement over Postgres' protocol"),
                    Err(Stop::Fault(fault)) => {
                        warn!(target: "audit", who = self.asker.name(), why = fault.message, "statement refused");
                    }
                    Err(Stop::Gone) => {}
                }
                let answer = asked?;
                for warning in &answer.warnings {
                    let notice = ErrorInfo::new("WARNING".to_owned(), "01000".to_owned(), warning.clone());
                    wire.feed(Told::NoticeResponse(NoticeResponse::from(notice))).await?;
                }
                Ok(Executed::Rows(answer))
            }
            Statement::Show(name) => Ok(Executed::Rows(self.show(name.as_deref())?)),
            Statement::Set(name, value) => {
                self.settings.set(name, value.as_deref())?;
                if let Some(reported) = REPORTED.iter().find(|reported| reported.eq_ignore_ascii_case(name)) {
                    let value = self.settings.get(name).unwrap_or_default().to_owned();
                    wire.feed(Told::ParameterStatus(ParameterStatus::new((*reported).to_owned(), value))).await?;
                }
                done("SET")
            }
            Statement::Begin => {
                self.status = TransactionStatus::Transaction;
                done("BEGIN")
            }
            Statement::Commit => {
                let failed = self.status == TransactionStatus::Error;
                self.status = TransactionStatus::Idle;
                done(if failed { "ROLLBACK" } else { "COMMIT" })
            }
            Statement::Rollback => {
                self.status = TransactionStatus::Idle;
                done("ROLLBACK")
            }
            Statement::RollbackTo => {
                if self.status == TransactionStatus::Error {
                    self.status = TransactionStatus::Transaction;
                }
                done("ROLLBACK")
            }
            Statement::Deallocate(name) => {
                match name {
                    Some(name) => drop(self.prepared.remove(name)),
                    None => self.prepared.clear(),
                }
                done("DEALLOCATE")
            }
            Statement::DiscardAll => {
                self.prepared.clear();
                self.settings.reset();
                done("DISCARD ALL")
            }
            Statement::Idle(tag) => done(tag),
        }
    }

    fn show(&self, name: Option<&str>) -> Result<Answer, Fault> {
        let rows = match name {
            Some(name) => vec![vec![Value::from(self.settings.get(name)?)]],
            None => {
                let values = self.settings.values.iter();
                values.map(|(name, value)| vec![name.as_str().into(), value.as_str().into(), Value::from("")]).collect()
            }
        };
        Ok(Answer {
            columns: show_columns(name),
            rows: Rows::Catalogue(rows),
            warnings: Vec::new(),
            facts: self.facts(),
        })
    }
}

/// What a statement came to.
#[derive(Debug)]
pub(super) enum Executed {
    Rows(Answer),
    Done(&'static str),
}

impl Executed {
    pub(super) fn tag(&self) -> CommandComplete {
        CommandComplete::new(match self {
            Self::Rows(answer) => format!("SELECT {}", answer.rows.count()),
            Self::Done(tag) => (*tag).to_owned(),
        })
    }
}

/// Hands on that the client is gone.
fn gone(result: Result<(), Stop>) -> Result<Result<(), Stop>, Stop> {
    match result {
        Err(Stop::Gone) => Err(Stop::Gone),
        other => Ok(other),
    }
}

pub(super) fn show_columns(name: Option<&str>) -> Vec<Column> {
    let column = |name: &str| Column { name: name.to_owned(), of: Type::TEXT, modifier: -1 };
    match name {
        Some(name) => vec![column(name)],
        None => ["name", "setting", "description"].map(column).to_vec(),
    }
}

pub(super) fn described(columns: &[Column], binary: &[bool]) -> RowDescription {
    let field = |(column, binary): (&Column, &bool)| {
        let length = Known::of(&column.of).length;
        FieldDescription::new(column.name.clone(), 0, 0, column.of.oid(), length, column.modifier, i16::from(*binary))
    };
    RowDescription::new(columns.iter().zip(binary).map(field).collect())
}
