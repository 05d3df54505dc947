//! Records become events: decoding by the source's schema, validation, dead letters (L7).

use std::sync::Arc;

use jiff::SignedDuration;

use crate::{
    clock::Clock,
    event::{Decoded, Record},
    schema::Schema,
};

/// What a decoder needs to know of its source.
#[derive(Debug, Clone, PartialEq)]
pub struct Rules {
    /// The columns.
    pub schema: Arc<Schema>,
    /// The event-time column.
    pub event_time: String,
    /// How far an event time may be ahead of the clock.
    pub ahead_max: Option<SignedDuration>,
    /// How far an event time may be behind the record's own time stamp. Not the clock's: a replay must decide the same.
    pub behind_max: Option<SignedDuration>,
}

/// Decodes the JSON records of one source.
#[derive(Debug)]
pub struct Decoder {
    rules: Rules,
    _clock: Arc<dyn Clock>,
}

impl Decoder {
    /// A decoder by these rules.
    #[must_use]
    pub fn new(rules: Rules, clock: Arc<dyn Clock>) -> Self {
        Self { rules, _clock: clock }
    }

    /// Decodes a run of records of one partition. Never fails: what cannot be an event is a dead letter.
    #[must_use]
    pub fn decode(&mut self, records: Vec<Record>) -> Decoded {
        let _ = (&self.rules, records);
        unimplemented!("decode helper")
    }
}
