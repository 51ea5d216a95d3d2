//! A page of ids.
//!
//! They lie in several sets, each in order: the page is what comes first in all of them together.

use redis::Pipeline;

use super::Asker;
use crate::ids::EntityId;
use crate::journal::{IdPage, ListIds, ReadError, StoreError};
use crate::runtime::redis::engine::keys::{ID_BUCKETS, ShardKeys};
use crate::runtime::redis::engine::replies::{Reply, text};
use crate::runtime::redis::job::{Failed, Job, Replicated, Verdict, all_done};
use crate::runtime::redis::link::Link;

type Page = Result<IdPage, ReadError>;

/// Lists the ids of one type in one shard.
pub(in crate::runtime::redis) struct IdsJob {
    keys: ShardKeys,
    query: ListIds,
    asker: Asker<Page>,
}

impl IdsJob {
    pub(in crate::runtime::redis) fn new(keys: ShardKeys, query: ListIds, asker: Asker<Page>) -> Self {
        Self { keys, query, asker }
    }

    fn page(&self, values: &[redis::Value]) -> Page {
        let mut ids = Vec::new();
        for value in values {
            let redis::Value::Array(found) = value else {
                return Err(ReadError::Failed(StoreError(format!(
                    "a list of ids was expected, not {value:?}"
                ))));
            };
            for id in found {
                let id = text(id).and_then(|id| EntityId::new(id).ok());
                ids.push(
                    id.ok_or_else(|| ReadError::Damaged("a set of ids holds what is no id".to_owned()))?,
                );
            }
        }
        ids.sort_unstable_by(|a, b| a.as_str().cmp(b.as_str()));
        let more = ids.len() > self.query.limit;
        ids.truncate(self.query.limit);
        Ok(IdPage { ids, more })
    }
}

impl Job for IdsJob {
    fn slot(&self) -> u16 {
        self.keys.slot
    }

    fn send(&self, _: &Link, pipeline: &mut Pipeline) {
        let after = self.query.after.as_ref().map_or("-".to_owned(), |after| format!("({}", after.as_str()));
        for bucket in 0..ID_BUCKETS {
            let ids = pipeline.cmd("ZRANGE").arg(self.keys.ids(&self.query.entity_type, bucket));
            ids.arg(&after).arg("+").arg("BYLEX").arg("LIMIT").arg(0).arg(self.query.limit.saturating_add(1));
        }
    }

    fn read(&mut self, replies: Vec<Reply>, _: &Replicated) -> Verdict {
        let page = match all_done(replies) {
            Ok(values) => self.page(&values),
            Err(Failed::Again(again)) => return again,
            Err(Failed::Foreign(what)) => {
                Err(ReadError::Damaged(format!("a key of ids holds what is not Abide's: {what}")))
            }
        };
        self.asker.tell(page);
        Verdict::Settled
    }

    fn give_up(mut self: Box<Self>, reason: &str) {
        self.asker.tell(Err(ReadError::Failed(StoreError(reason.to_owned()))));
    }
}
