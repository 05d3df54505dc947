//! A session's question while it is computed: it ends when there is an answer, when it is cancelled, when it takes too long, or when the
//! client leaves.

use std::{
    sync::{Arc, PoisonError},
    time::Duration,
};

use common::limits::MESSAGES_AHEAD_MAX;
use sqlparser::ast::Query;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use super::{
    catalog::{self, Facts},
    dialect::{self, Parameter},
    fault::Fault,
    query::{Answer, Column, Job},
    session::Session,
    wire::{self, Stop, Wire},
};
use crate::access::Right;

impl Session {
    /// Asks rows, or columns only.
    pub(super) async fn ask(
        &mut self,
        wire: &mut Wire,
        query: &Query,
        parameters: &[Parameter],
        told: Option<&[Column]>,
        columns_only: bool,
    ) -> Result<Answer, Stop> {
        if !columns_only {
            self.server.access.admit(&self.asker, Right::Read).map_err(Fault::from)?;
        }
        let mut query = Box::new(query.clone());
        dialect::bind(&mut query, parameters)?;
        let cancelled = CancellationToken::new();
        *self.running.lock().unwrap_or_else(PoisonError::into_inner) = cancelled.clone();
        // Whichever way this ends, nobody waits for the rest.
        let _cancel = cancelled.clone().drop_guard();
        let job = Job {
            served: Arc::clone(&self.server.served),
            asker: self.asker.clone(),
            facts: self.facts(),
            query,
            told: told.map(<[Column]>::to_vec),
            columns_only,
            cancelled: cancelled.clone(),
        };
        let permits = Arc::clone(&self.server.permits);
        let answer = async move {
            let permit = permits.acquire_owned().await.map_err(|_| Fault::new("57P01", "the server is stopping"))?;
            let receiver: oneshot::Receiver<_> = job.start(permit)?;
            receiver.await.unwrap_or_else(|_| Err(Fault::new("XX000", "the statement cannot be run")))
        };
        let limit = Duration::try_from(self.server.served.limits().timeout).unwrap_or(Duration::MAX);
        let limit = self.settings.timeout.map_or(limit, |timeout| timeout.min(limit));
        tokio::pin!(answer);
        let timeout = tokio::time::sleep(limit);
        tokio::pin!(timeout);
        loop {
            tokio::select! {
                biased;
                answer = &mut answer => return Ok(answer?),
                () = cancelled.cancelled() => {
                    return Err(Fault::new("57014", "canceling statement due to user request").into());
                }
                () = &mut timeout => {
                    let message = format!("canceling statement due to statement timeout, {limit:?} (`serving.query_timeout`)");
                    return Err(Fault::new("57014", message).into());
                }
                // A client that leaves is noticed by reading on.
                message = wire::next(wire), if self.ahead.len() < MESSAGES_AHEAD_MAX => match message {
                    Some(message) => self.ahead.push_back(message),
                    None => return Err(Stop::Gone),
                },
            }
        }
    }

    /// What the catalogue says to this asker.
    pub(super) fn facts(&self) -> Arc<Facts> {
        let views = self.server.served.views().values();
        let views = views.filter(|view| self.asker.sees(view.name.as_str())).cloned();
        Arc::new(Facts {
            user: self.settings.get("session_authorization").unwrap_or_default().to_owned(),
            database: self.database.clone(),
            settings: self.settings.values.clone(),
            tables: catalog::tables_of(views),
        })
    }
}
