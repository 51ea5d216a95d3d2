//! A claim.
//!
//! The token is judged here, by the same code as everywhere, and then replaced only if it still is the one
//! that was judged. The first guess is that there is none; a shard that was claimed before costs a second step.

use redis::Pipeline;

use super::Asker;
use crate::journal::fence::{ClaimVerdict, judge_claim};
use crate::journal::{Claim, ClaimError, Known, StoreError, Token, Writer};
use crate::runtime::redis::engine::keys::ShardKeys;
use crate::runtime::redis::engine::replies::{Held, Reply};
use crate::runtime::redis::engine::token;
use crate::runtime::redis::job::{Failed, Job, Replicated, Verdict, all_done};
use crate::runtime::redis::link::{Link, Script};
use crate::runtime::redis::meter;

/// Matches no token.
const NO_TOKEN: &str = "?";

/// Takes a shard.
pub(in crate::runtime::redis) struct ClaimJob {
    keys: ShardKeys,
    claim: Claim,
    writer: Writer,
    least: Option<Known>,
    /// The token that was judged.
    judged: String,
    asker: Asker<Result<(), ClaimError>>,
}

impl ClaimJob {
    pub(in crate::runtime::redis) fn new(
        keys: ShardKeys,
        claim: Claim,
        writer: Writer,
        least: Option<Known>,
        asker: Asker<Result<(), ClaimError>>,
    ) -> Self {
        let judged = if least.is_none() { String::new() } else { NO_TOKEN.to_owned() };
        Self { keys, claim, writer, least, judged, asker }
    }

    fn settle(&mut self, error: ClaimError) -> Verdict {
        self.asker.tell(Err(error));
        Verdict::Settled
    }

    fn foreign(&mut self, what: &str) -> Verdict {
        self.settle(ClaimError::Damaged(format!("the fence of the shard holds {what}, which is no token")))
    }

    fn judge(&mut self, held: Option<Token>, replicated: &Replicated) -> Verdict {
        match judge_claim(held, self.claim, self.writer, self.least) {
            ClaimVerdict::Take(_) => {
                self.judged = held.as_ref().map(token::encode).unwrap_or_default();
                Verdict::Next
            }
            // The script says so by another answer.
            ClaimVerdict::AlreadyTaken => Verdict::Next,
            ClaimVerdict::Fenced(held) => {
                meter::fenced("claim");
                self.settle(ClaimError::Fenced { held })
            }
            ClaimVerdict::Usurped(usurped) => self.settle(usurped.into()),
            ClaimVerdict::Lost { held, least } => {
                replicated.settle(|| self.asker.tell(Err(ClaimError::Lost { held, least })))
            }
        }
    }
}

impl Job for ClaimJob {
    fn slot(&self) -> u16 {
        self.keys.slot
    }

    fn send(&self, link: &Link, pipeline: &mut Pipeline) {
        let token = token::encode(&Token { claim: self.claim, batch: 0, writer: self.writer });
        let mut call = link.call(Script::Claim);
        call.arg(1).arg(self.keys.fence()).arg(&self.judged).arg(token);
        pipeline.add_command(call);
    }

    fn read(&mut self, replies: Vec<Reply>, replicated: &Replicated) -> Verdict {
        let values = match all_done(replies) {
            Ok(values) => values,
            Err(Failed::Again(again)) => return again,
            Err(Failed::Foreign(what)) => return self.foreign(&what),
        };
        match values.as_slice() {
            [redis::Value::Int(1 | 2)] => replicated.settle(|| self.asker.tell(Ok(()))),
            [redis::Value::Array(parts)] => {
                let held = parts.get(1).map_or(Some(Held::Nobody), Held::read);
                match held {
                    Some(Held::Foreign(text)) => self.foreign(&format!("{text:?}")),
                    Some(held) => self.judge(held.token(), replicated),
                    None => Verdict::nonsense(&values[0]),
                }
            }
            _ => Verdict::nonsense(values.first().unwrap_or(&redis::Value::Nil)),
        }
    }

    fn give_up(mut self: Box<Self>, reason: &str) {
        self.asker.tell(Err(ClaimError::Failed(StoreError(reason.to_owned()))));
    }
}
