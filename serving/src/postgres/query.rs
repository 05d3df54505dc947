//! Running a query: on a thread of its own, as `POST /v1/sql` does, over the catalogue or over views.

use std::{sync::Arc, thread};

use arrow::{array::RecordBatch, compute::cast, datatypes::DataType};
use bytes::BytesMut;
use common::{limits::SQL_STACK_BYTES, schema::ColumnType};
use jiff::tz::TimeZone;
use pgwire::api::Type;
use sqlparser::ast::{Query, Statement};
use tokio::{
    runtime::Handle,
    sync::{OwnedSemaphorePermit, oneshot},
};
use tokio_util::sync::CancellationToken;

use super::{
    catalog::{self, About, Facts},
    dialect,
    fault::Fault,
    types,
};
use crate::{Served, access::Asker, sql::Prepared};

/// A column of an answer.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Column {
    pub(super) name: String,
    pub(super) of: Type,
    pub(super) modifier: i32,
}

/// Rows of an answer.
#[derive(Debug)]
pub(super) enum Rows {
    Views(RecordBatch),
    Catalogue(Vec<Vec<catalog::Value>>),
}

impl Rows {
    pub(super) fn count(&self) -> usize {
        match self {
            Self::Views(batch) => batch.num_rows(),
            Self::Catalogue(rows) => rows.len(),
        }
    }
}

/// An answer.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) columns: Vec<Column>,
    pub(super) rows: Rows,
    /// What is to be known of it.
    pub(super) warnings: Vec<String>,
    pub(super) facts: Arc<Facts>,
}

impl Answer {
    /// Writes the row, each value in its column's format.
    pub(super) fn write(
        &self,
        row: usize,
        binary: &[bool],
        zone: &TimeZone,
        buffer: &mut BytesMut,
    ) -> Result<(), Fault> {
        for (at, column) in self.columns.iter().enumerate() {
            match &self.rows {
                Rows::Views(batch) => types::write(buffer, batch.column(at), row, binary[at], zone)?,
                Rows::Catalogue(rows) => match (&rows[row][at], binary[at]) {
                    (catalog::Value::Int(oid), false) if catalog::has_names(&column.of) => {
                        let name = catalog::name_of(&self.facts, &column.of, *oid);
                        types::write_value(buffer, &name.into(), &Type::TEXT, false);
                    }
                    (value, binary) => types::write_value(buffer, value, &column.of, binary),
                },
            }
        }
        Ok(())
    }
}

/// A query to run.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) served: Arc<Served>,
    pub(super) asker: Asker,
    pub(super) facts: Arc<Facts>,
    pub(super) query: Box<Query>,
    /// The columns that were told; what comes otherwise is made to be of these types.
    pub(super) told: Option<Vec<Column>>,
    /// Whether only columns are asked.
    pub(super) columns_only: bool,
    pub(super) cancelled: CancellationToken,
}

impl Job {
    /// Starts it; what it gives comes through the channel. The permit is held until it is done, whether or not somebody waits.
    pub(super) fn start(self, permit: OwnedSemaphorePermit) -> Result<oneshot::Receiver<Result<Answer, Fault>>, Fault> {
        let (sender, receiver) = oneshot::channel();
        let runtime = Handle::current();
        let run = move || {
            let _permit = permit;
            // Nobody may wait any more.
            let _ = sender.send(self.run(&runtime));
        };
        let started = thread::Builder::new().name("sql".to_owned()).stack_size(SQL_STACK_BYTES).spawn(run);
        started.map_err(|error| Fault::new("53000", error.to_string()))?;
        Ok(receiver)
    }

    fn run(mut self, runtime: &Handle) -> Result<Answer, Fault> {
        let about = catalog::about(&self.query);
        if about != About::Views {
            match catalog::answer(&self.facts, &self.query, !self.columns_only) {
                Ok(answer) => return Ok(self.of_catalogue(answer)),
                // What the catalogue's queries have not, a query without tables may still be: arithmetic, dates.
                Err(fault) if about == About::Nothing && ["0A000", "42883"].contains(&fault.code) => {}
                Err(fault) => return Err(fault),
            }
        }
        dialect::plain(&mut self.query);
        let prepared = Prepared::of(&self.served, Statement::Query(self.query))?;
        prepared.views().try_for_each(|view| self.asker.may_read(view.as_str()))?;
        if self.columns_only {
            let rows = RecordBatch::new_empty(prepared.schema()?);
            return Ok(Answer {
                columns: columns(&rows),
                rows: Rows::Views(rows),
                warnings: Vec::new(),
                facts: self.facts,
            });
        }
        let tiers = runtime.block_on(self.served.caught_up());
        let tiers = tiers.ok_or_else(|| Fault::new("57P03", "still catching up, try again"))?;
        let answer = prepared.run(&self.served, &tiers, &self.cancelled)?;
        if answer.stats.groups > answer.rows.num_rows() {
            let most = self.served.limits().rows;
            let message =
                format!("there are more rows, an answer has at most {most} (`serving.query_rows`): LIMIT them");
            return Err(Fault::new("54000", message));
        }
        let rows = match &self.told {
            Some(told) => as_told(answer.rows, told)?,
            None => answer.rows,
        };
        let mut warnings = answer.provenance.warnings;
        if !answer.provenance.complete {
            warnings.push("the answer is not complete: some of what was read last is missing".to_owned());
        }
        Ok(Answer { columns: columns(&rows), rows: Rows::Views(rows), warnings, facts: self.facts })
    }

    fn of_catalogue(self, answer: catalog::Answer) -> Answer {
        let column = |(name, of): (String, Type)| Column { name, of, modifier: -1 };
        let columns = answer.columns.into_iter().map(column).collect();
        Answer { columns, rows: Rows::Catalogue(answer.rows), warnings: Vec::new(), facts: self.facts }
    }
}

fn columns(rows: &RecordBatch) -> Vec<Column> {
    let of = |data_type: &DataType| match data_type {
        DataType::Int64 => ColumnType::Int,
        DataType::Float64 => ColumnType::Double,
        DataType::Boolean => ColumnType::Bool,
        DataType::Decimal128(precision, scale) => {
            ColumnType::Decimal { precision: *precision, scale: scale.unsigned_abs() }
        }
        DataType::Timestamp(_, _) => ColumnType::Timestamp,
        _ => ColumnType::String,
    };
    let fields = rows.schema_ref().fields().iter();
    fields
        .map(|field| {
            let column_type = of(field.data_type());
            Column { name: field.name().clone(), of: types::of(column_type), modifier: types::modifier(column_type) }
        })
        .collect()
}

/// `rows` in the types that were told before their parameters were known.
fn as_told(rows: RecordBatch, told: &[Column]) -> Result<RecordBatch, Fault> {
    if columns(&rows).iter().zip(told).all(|(is, told)| is.of == told.of) {
        return Ok(rows);
    }
    let arrow = |of: &Type| match *of {
        Type::INT8 => Some(DataType::Int64),
        Type::FLOAT8 => Some(DataType::Float64),
        Type::BOOL => Some(DataType::Boolean),
        Type::TEXT => Some(DataType::Utf8),
        _ => None,
    };
    let mut fields = Vec::with_capacity(told.len());
    for ((field, column), told) in rows.schema_ref().fields().iter().zip(rows.columns()).zip(told) {
        let column = match arrow(&told.of) {
            Some(wanted) => cast(column, &wanted).map_err(|error| Fault::new("42804", error.to_string()))?,
            None => Arc::clone(column),
        };
        fields.push((field.name().clone(), column, true));
    }
    RecordBatch::try_from_iter_with_nullable(fields).map_err(|error| Fault::new("42804", error.to_string()))
}
