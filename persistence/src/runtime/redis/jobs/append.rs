//! A batch.

use redis::Pipeline;

use super::Asker;
use crate::journal::fence::{BatchVerdict, judge_batch};
use crate::journal::{StoreError, Token, WriteError};
use crate::runtime::redis::engine::append::Append;
use crate::runtime::redis::engine::replies::{Appended, Held, Reply, appended};
use crate::runtime::redis::job::{Failed, Job, Replicated, Verdict, all_done};
use crate::runtime::redis::link::{Link, Script};
use crate::runtime::redis::meter;

/// Stores a batch, and sees to it that enough replicas have it.
pub(in crate::runtime::redis) struct AppendJob {
    append: Append,
    /// Whether an earlier sending may have run.
    in_doubt: bool,
    asker: Asker<Result<(), WriteError>>,
}

impl AppendJob {
    pub(in crate::runtime::redis) fn new(append: Append, asker: Asker<Result<(), WriteError>>) -> Self {
        Self { append, in_doubt: false, asker }
    }

    fn settle(&mut self, answer: Result<(), WriteError>) -> Verdict {
        self.asker.tell(answer);
        Verdict::Settled
    }

    fn fenced(&mut self, held: Option<Token>, replicated: &Replicated) -> Verdict {
        let batch = self.append.batch();
        let sent_again = self.in_doubt;
        match judge_batch(held, batch.claim, batch.number, batch.writer) {
            BatchVerdict::Fenced(held) => {
                meter::fenced("write");
                self.settle(Err(WriteError::Fenced { held, sent_again }))
            }
            // A server that was left behind says the same. One that has its replicas was not.
            BatchVerdict::Lost(held) => {
                replicated.settle(|| self.asker.tell(Err(WriteError::Lost { held, sent_again })))
            }
            BatchVerdict::Write(_) | BatchVerdict::AlreadyWritten => {
                Verdict::nonsense(&redis::Value::SimpleString(format!("fenced by {held:?}")))
            }
        }
    }

    fn judge(&mut self, replies: Vec<Reply>, replicated: &Replicated) -> Verdict {
        let values = match all_done(replies) {
            Ok(values) => values,
            Err(Failed::Again(again)) => return again,
            Err(Failed::Foreign(what)) => {
                let words = format!("a key of the batch holds what is not Abide's: {what}");
                return self.settle(Err(WriteError::Damaged(words)));
            }
        };
        let Some(value) = values.first() else { return Verdict::nonsense(&redis::Value::Nil) };
        match appended(value) {
            Some(Appended::Stored) => replicated.settle(|| self.asker.tell(Ok(()))),
            Some(Appended::Fenced(Held::Foreign(text))) => {
                let words = format!("the fence of the shard holds {text:?}, which is no token");
                self.settle(Err(WriteError::Damaged(words)))
            }
            Some(Appended::Fenced(held)) => self.fenced(held.token(), replicated),
            Some(Appended::Conflict { append, found }) => {
                let conflict = self.append.conflict(append, found);
                if self.in_doubt {
                    // It ends where an earlier sending left it that broke off half-way, for want of a right.
                    let words = format!("an earlier sending broke off: {conflict}");
                    return self.settle(Err(WriteError::Unknown(StoreError(words))));
                }
                self.settle(Err(conflict))
            }
            None => Verdict::nonsense(value),
        }
    }
}

impl Job for AppendJob {
    fn slot(&self) -> u16 {
        self.append.slot()
    }

    fn weight(&self) -> usize {
        self.append.weight()
    }

    fn send(&self, link: &Link, pipeline: &mut Pipeline) {
        let mut call = link.call(Script::Append);
        self.append.write_call(&mut call);
        pipeline.add_command(call);
    }

    fn read(&mut self, replies: Vec<Reply>, replicated: &Replicated) -> Verdict {
        let verdict = self.judge(replies, replicated);
        self.in_doubt |= matches!(verdict, Verdict::Again { in_doubt: true, .. });
        verdict
    }

    fn unanswered(&mut self) {
        self.in_doubt = true;
    }

    fn give_up(mut self: Box<Self>, reason: &str) {
        let reason = StoreError(reason.to_owned());
        self.asker.tell(Err(if self.in_doubt {
            WriteError::Unknown(reason)
        } else {
            WriteError::NotWritten(reason)
        }));
    }
}
