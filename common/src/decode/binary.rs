//! Values whose format needs a schema to be read: Avro and Protobuf.
//!
//! All that may fail for other reasons than the record itself (asking a registry, a schema that does not fit) is done in
//! [`Binary::prepare`], before records are decoded: decoding does no I/O and never stops.

use std::sync::Arc;

use hashbrown::HashMap;

use super::{
    column::{ColumnBuilder, Typed},
    error::Error,
    fault::Fault,
    framing,
    plan::{Message, Plan, Wrong},
    schemas::{RegisteredSchemas, Schemas},
};
use crate::{limits::SCHEMAS_REFUSED_MAX, registry::SchemaKind, schema::Column};

/// Reads values of one kind of schema.
#[derive(Debug)]
pub(super) struct Binary {
    columns: Arc<[Column]>,
    plans: Plans,
    /// Room for what a value has for each column; empty between two of them.
    found: Vec<Typed<'static>>,
}

#[derive(Debug)]
enum Plans {
    One(Plan),
    Framed(Framed),
}

impl Binary {
    /// A reader of these columns. If `whole` is set, a value without members is read whole into each of them.
    pub(super) fn new(columns: Arc<[Column]>, kind: SchemaKind, schemas: &Schemas, whole: bool) -> Self {
        let plans = match schemas {
            Schemas::One(schema) => {
                let plan = Plan::new(schema.written(kind), &columns, whole);
                Plans::One(plan.expect("the pipeline file's schemas fit its columns"))
            }
            Schemas::Registered(schemas) => Plans::Framed(Framed::new(kind, schemas.clone(), whole)),
        };
        Self { columns, plans, found: Vec::new() }
    }

    /// Gets ready to read `values`: learns the schemas that they name.
    ///
    /// # Errors
    /// See [`Error`]. What was learned until then stays.
    pub(super) async fn prepare<'v>(&mut self, values: impl Iterator<Item = &'v [u8]>) -> Result<(), Error> {
        let Plans::Framed(framed) = &mut self.plans else { return Ok(()) };
        framed.forget();
        for value in values {
            if let Some(header) = framed.unknown(value) {
                framed.learn(header, &self.columns).await?;
            }
        }
        Ok(())
    }

    /// Appends what stands in `value`, for which [`Self::prepare`] was called, to the columns. After an error some of them
    /// may have one row more.
    pub(super) fn append(&mut self, value: &[u8], columns: &mut [ColumnBuilder]) -> Result<(), Fault> {
        let (plan, start) = match &mut self.plans {
            Plans::One(plan) => (&*plan, 0),
            Plans::Framed(framed) => framed.plan(value)?,
        };
        let mut found = emptied(std::mem::take(&mut self.found));
        found.resize(columns.len(), Typed::Absent);
        let read = plan
            .read(&value[start..], &mut found)
            .map_err(|Wrong { at, allowed }| Fault::malformed(format!("at byte {}: allowed is {allowed}", start + at)));
        let appended = read.and_then(|()| {
            let mut columns = columns.iter_mut().zip(&*self.columns).zip(&found);
            columns.try_for_each(|((builder, column), value)| {
                let appended = builder.append_typed(*value);
                appended.map_err(|reason| Fault::column(reason, column, &value.shown()))
            })
        });
        self.found = emptied(found);
        appended
    }
}

/// The vector without its values, for those of another record: its memory is used again.
fn emptied<'v>(mut values: Vec<Typed<'_>>) -> Vec<Typed<'v>> {
    values.clear();
    values.into_iter().map(|_| unreachable!("it is empty")).collect()
}

/// Values with Confluent's framing before them.
#[derive(Debug)]
struct Framed {
    kind: SchemaKind,
    schemas: RegisteredSchemas,
    whole: bool,
    known: Vec<Known>,
    numbers: HashMap<Box<[u8]>, usize>,
    /// How many of them are refused.
    refused: usize,
    /// The one that the last value had.
    last: usize,
}

/// A framing that was met.
#[derive(Debug)]
struct Known {
    framing: Box<[u8]>,
    /// How its values are read, or why they are dead letters.
    plan: Result<Plan, String>,
}

impl Framed {
    fn new(kind: SchemaKind, schemas: RegisteredSchemas, whole: bool) -> Self {
        Self { kind, schemas, whole, known: Vec::new(), numbers: HashMap::new(), refused: 0, last: 0 }
    }

    /// The framing of `value`, if it is whole and was never met.
    fn unknown<'v>(&mut self, value: &'v [u8]) -> Option<&'v [u8]> {
        if self.known.get(self.last).is_some_and(|known| value.starts_with(&known.framing)) {
            return None;
        }
        let framing = &value[..framing::length(self.kind, value).ok()?];
        match self.numbers.get(framing) {
            Some(&number) => {
                self.last = number;
                None
            }
            None => Some(framing),
        }
    }

    async fn learn(&mut self, framing: &[u8], columns: &[Column]) -> Result<(), Error> {
        let (id, message) = framing::parse(self.kind, framing);
        let plan = match self.schemas.registry.schema(id).await? {
            None => Err(format!("schema {id} is not in the registry at {}", self.schemas.registry.settings().url)),
            Some(schema) => self.schemas.plan(&schema, self.kind, Message::At(&message), columns, self.whole)?,
        };
        match &plan {
            Ok(_) => tracing::info!(id, "learned a schema"),
            Err(reason) => tracing::warn!(id, reason, "records of a schema become dead letters"),
        }
        self.refused += usize::from(plan.is_err());
        self.last = self.known.len();
        self.numbers.insert(framing.into(), self.last);
        self.known.push(Known { framing: framing.into(), plan });
        Ok(())
    }

    /// Forgets all framings if too many were refused.
    fn forget(&mut self) {
        if self.refused > SCHEMAS_REFUSED_MAX {
            *self = Self::new(self.kind, self.schemas.clone(), self.whole);
        }
    }

    /// How `value` is read, and where it starts.
    fn plan(&mut self, value: &[u8]) -> Result<(&Plan, usize), Fault> {
        if !self.known.get(self.last).is_some_and(|known| value.starts_with(&known.framing)) {
            let framing = &value[..framing::length(self.kind, value)?];
            self.last = *self.numbers.get(framing).expect("the decoder was prepared for these records");
        }
        let known = &self.known[self.last];
        match &known.plan {
            Ok(plan) => Ok((plan, known.framing.len())),
            Err(reason) => Err(Fault::schema(reason.clone())),
        }
    }
}
