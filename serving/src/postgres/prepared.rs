//! Prepared statements: parsed once, bound to parameters, described, and executed as far as is asked each time.

use std::sync::Arc;

use common::limits::STATEMENTS_MAX;
use futures::SinkExt;
use pgwire::{
    api::Type,
    messages::{
        PgWireBackendMessage as Told, PgWireFrontendMessage as Asked,
        data::{NoData, ParameterDescription},
        extendedquery::{
            Bind, BindComplete, Close, CloseComplete, Describe, Execute, Parse, ParseComplete, PortalSuspended,
            TARGET_TYPE_BYTE_STATEMENT,
        },
        response::{CommandComplete, EmptyQueryResponse},
    },
};

use super::{
    dialect::{self, Parameter},
    fault::Fault,
    query::{Answer, Column},
    session::{Executed, Session, described, show_columns},
    statement::{self, Statement},
    types,
    wire::{Stop, Wire},
};

/// A statement that was parsed, and what is known of it.
#[derive(Debug)]
pub(super) struct Prepared {
    sql: String,
    /// `None` of an empty text.
    statement: Option<Statement>,
    parameters: Vec<Type>,
    /// `None` if it answers no rows.
    columns: Option<Vec<Column>>,
}

/// A statement with its parameters, and how far its rows were told.
#[derive(Debug)]
pub(super) struct Portal {
    prepared: Arc<Prepared>,
    parameters: Vec<Parameter>,
    formats: Vec<i16>,
    answer: Option<Answer>,
    told: usize,
}

impl Session {
    /// A step of a prepared statement; `sql` becomes its text, which faults are in.
    pub(super) async fn extended(&mut self, wire: &mut Wire, message: Asked, sql: &mut String) -> Result<(), Stop> {
        match message {
            Asked::Parse(parse) => {
                parse.query.clone_into(sql);
                self.parse(wire, parse).await?;
                wire.feed(Told::ParseComplete(ParseComplete::new())).await?;
            }
            Asked::Bind(bind) => {
                self.bind(bind)?;
                wire.feed(Told::BindComplete(BindComplete::new())).await?;
            }
            Asked::Describe(describe) => self.describe(wire, &describe).await?,
            Asked::Execute(execute) => {
                if let Some(portal) = self.portals.get(execute.name.as_deref().unwrap_or_default()) {
                    portal.prepared.sql.clone_into(sql);
                }
                self.execute_portal(wire, &execute).await?;
            }
            Asked::Close(close) => {
                self.close(&close);
                wire.feed(Told::CloseComplete(CloseComplete::new())).await?;
            }
            _ => return Err(Fault::new("08P01", "unexpected message").into()),
        }
        Ok(())
    }

    async fn parse(&mut self, wire: &mut Wire, parse: Parse) -> Result<(), Stop> {
        let name = parse.name.unwrap_or_default();
        if !name.is_empty() && self.prepared.contains_key(&name) {
            return Err(Fault::new("42P05", format!("prepared statement \"{name}\" already exists")).into());
        }
        if self.prepared.len() >= STATEMENTS_MAX {
            return Err(Fault::new("54000", format!("more than {STATEMENTS_MAX} prepared statements")).into());
        }
        let mut statements = statement::statements(&parse.query)?;
        if statements.len() > 1 {
            return Err(Fault::new("42601", "cannot insert multiple commands into a prepared statement").into());
        }
        let statement = statements.pop();
        let (mut parameters, mut columns) = (Vec::new(), None);
        match &statement {
            Some(Statement::Query(query)) => {
                self.allowed(&Statement::Query(query.clone()))?;
                parameters = dialect::parameter_types(query, &parse.type_oids, &|name| self.column_type(name));
                let stand_ins = dialect::stand_ins(&parameters);
                columns = Some(self.ask(wire, query, &stand_ins, None, true).await?.columns);
            }
            Some(Statement::Show(name)) => columns = Some(show_columns(name.as_deref())),
            _ => {}
        }
        self.prepared.insert(name, Arc::new(Prepared { sql: parse.query, statement, parameters, columns }));
        Ok(())
    }

    /// The type of the column `name` of whichever view has one.
    fn column_type(&self, name: &str) -> Option<Type> {
        let views = self.server.served.views().values();
        views.filter(|view| self.asker.sees(view.name.as_str())).find_map(|view| {
            let bucket = view.bucket_name.eq_ignore_ascii_case(name).then_some(Type::TIMESTAMPTZ);
            let dimension =
                || view.dimensions.iter().find(|d| d.name.eq_ignore_ascii_case(name)).map(|d| d.column_type());
            let measure = || view.measures.iter().find(|m| m.name.eq_ignore_ascii_case(name))?.value_type.scalar();
            bucket.or_else(|| dimension().or_else(measure).map(types::of))
        })
    }

    fn bind(&mut self, bind: Bind) -> Result<(), Fault> {
        let name = bind.statement_name.unwrap_or_default();
        let missing = || Fault::new("26000", format!("prepared statement \"{name}\" does not exist"));
        let prepared = Arc::clone(self.prepared.get(&name).ok_or_else(missing)?);
        let (given, wanted) = (bind.parameters.len(), prepared.parameters.len());
        if given != wanted {
            let message = format!(
                "bind message supplies {given} parameters, but prepared statement \"{name}\" requires {wanted}"
            );
            return Err(Fault::new("08P01", message));
        }
        let codes = &bind.parameter_format_codes;
        let mut parameters = Vec::with_capacity(wanted);
        for (at, (value, of)) in bind.parameters.iter().zip(&prepared.parameters).enumerate() {
            let binary = format_of(codes, at)? == 1;
            let text = value.as_ref().map(|bytes| types::parameter(bytes, of, binary, at + 1)).transpose()?;
            parameters.push(Parameter { of: of.clone(), text });
        }
        let columns = prepared.columns.as_ref().map_or(0, Vec::len);
        let formats = bind.result_column_format_codes;
        if formats.len() > 1 && formats.len() != columns {
            return Err(Fault::new("08P01", format!("{} formats for {columns} columns", formats.len())));
        }
        if self.portals.len() >= STATEMENTS_MAX {
            return Err(Fault::new("54000", format!("more than {STATEMENTS_MAX} portals")));
        }
        let portal = Portal { prepared, parameters, formats, answer: None, told: 0 };
        self.portals.insert(bind.portal_name.unwrap_or_default(), portal);
        Ok(())
    }

    async fn describe(&self, wire: &mut Wire, describe: &Describe) -> Result<(), Stop> {
        let name = describe.name.clone().unwrap_or_default();
        let (prepared, formats) = if describe.target_type == TARGET_TYPE_BYTE_STATEMENT {
            let missing = || Fault::new("26000", format!("prepared statement \"{name}\" does not exist"));
            let prepared = self.prepared.get(&name).ok_or_else(missing)?;
            let oids = prepared.parameters.iter().map(Type::oid).collect();
            wire.feed(Told::ParameterDescription(ParameterDescription::new(oids))).await?;
            (prepared, &[][..])
        } else {
            let portal = self.portals.get(&name).ok_or_else(|| no_portal(&name))?;
            (&portal.prepared, portal.formats.as_slice())
        };
        match &prepared.columns {
            Some(columns) => {
                let binary = binary(formats, columns.len())?;
                wire.feed(Told::RowDescription(described(columns, &binary))).await?;
            }
            None => wire.feed(Told::NoData(NoData::new())).await?,
        }
        Ok(())
    }

    async fn execute_portal(&mut self, wire: &mut Wire, execute: &Execute) -> Result<(), Stop> {
        let name = execute.name.clone().unwrap_or_default();
        // It is put back, unless it failed.
        let mut portal = self.portals.remove(&name).ok_or_else(|| no_portal(&name))?;
        let prepared = Arc::clone(&portal.prepared);
        let Some(statement) = &prepared.statement else {
            wire.feed(Told::EmptyQueryResponse(EmptyQueryResponse::new())).await?;
            self.portals.insert(name, portal);
            return Ok(());
        };
        if portal.answer.is_none() {
            match self.execute(wire, statement, &portal.parameters, prepared.columns.as_deref()).await? {
                Executed::Rows(answer) => portal.answer = Some(answer),
                done => {
                    wire.feed(Told::CommandComplete(done.tag())).await?;
                    return Ok(());
                }
            }
        }
        if let Some(answer) = &portal.answer {
            let most = usize::try_from(execute.max_rows).ok().filter(|most| *most > 0).unwrap_or(usize::MAX);
            let binary = binary(&portal.formats, answer.columns.len())?;
            let to = portal.told.saturating_add(most).min(answer.rows.count());
            self.rows(wire, answer, &binary, portal.told, to).await?;
            let told = to - portal.told;
            portal.told = to;
            // As many rows as asked: there may be more, as far as the client is told.
            if told == most {
                wire.feed(Told::PortalSuspended(PortalSuspended::new())).await?;
            } else {
                wire.feed(Told::CommandComplete(CommandComplete::new(format!("SELECT {told}")))).await?;
            }
        }
        self.portals.insert(name, portal);
        Ok(())
    }

    fn close(&mut self, close: &Close) {
        let name = close.name.clone().unwrap_or_default();
        if close.target_type == TARGET_TYPE_BYTE_STATEMENT {
            self.prepared.remove(&name);
        } else {
            self.portals.remove(&name);
        }
    }
}

fn no_portal(name: &str) -> Fault {
    Fault::new("34000", format!("portal \"{name}\" does not exist"))
}

/// The format of value number `at`: one code is for all, none is text.
fn format_of(codes: &[i16], at: usize) -> Result<i16, Fault> {
    match codes {
        [] => Ok(0),
        [code] => Ok(*code),
        codes => codes.get(at).copied().ok_or_else(|| Fault::new("08P01", "there are fewer formats than values")),
    }
}

fn binary(codes: &[i16], columns: usize) -> Result<Vec<bool>, Fault> {
    (0..columns).map(|at| format_of(codes, at).map(|code| code == 1)).collect()
}
