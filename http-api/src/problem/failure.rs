//! From a failure to its problem: the one place that knows.

use std::time::Duration;

use abide_persistence::model::Failure;

use super::{Problem, ProblemKind};

/// Nothing heals a parked entity or shard but a person; asking more often helps nobody.
const PARKED_PAUSE: Duration = Duration::from_secs(30);

/// What a client is told about a failure.
///
/// Reasons that come from a store, from recovery or from a panic stay behind, as the log's cause: they may
/// hold paths, addresses or data of others.
pub(crate) fn problem_of(failure: Failure) -> Problem {
    let outcome = failure.outcome();
    let problem = match failure {
        Failure::UnknownType => {
            Problem::new(ProblemKind::UnknownEntityType, "the owner of this entity does not know its type")
        }
        Failure::NotACommand { path, reason } => {
            let words = format!("{reason} (at {path})");
            Problem::new(ProblemKind::NotACommand, words).with("path", path)
        }
        Failure::ConditionFailed { expected, found } => {
            let words =
                format!("the entity's last event is {found}, not {expected}; read it again and decide anew");
            Problem::new(ProblemKind::ConditionFailed, words)
                .with("last", found.0)
                .with("expected", expected.0)
        }
        Failure::EventRejected { reason, outcome } => {
            Problem::new(ProblemKind::EventRejected, reason).outcome(outcome)
        }
        Failure::EntityBusy { capacity } => {
            let words = format!("the entity already holds {capacity} waiting requests");
            Problem::new(ProblemKind::EntityBusy, words).with("capacity", capacity)
        }
        Failure::NodeBusy { capacity } => {
            let words = format!("the node already holds {capacity} waiting requests");
            Problem::new(ProblemKind::NodeBusy, words).with("capacity", capacity)
        }
        Failure::Panicked { what, .. } => {
            let words = "the entity's code panicked; the entity recovers from what is stored";
            Problem::new(ProblemKind::EntityPanicked, words).cause(what)
        }
        Failure::AnswerNotEncodable { reason, .. } => {
            let words = "the entity answered with something that cannot be written as JSON";
            Problem::new(ProblemKind::AnswerNotEncodable, words).cause(reason)
        }
        Failure::Parked { reason } => {
            let words = "the entity cannot be recovered from what is stored, and waits for an operator";
            Problem::new(ProblemKind::EntityParked, words).cause(reason).retry_after(PARKED_PAUSE)
        }
        Failure::JournalFailed { reason, retry_after, .. } => {
            let words = "the journal did not acknowledge or did not answer";
            Problem::new(ProblemKind::JournalFailed, words).cause(reason).retry_after(retry_after)
        }
        Failure::JournalUnavailable { retry_after } => {
            let words =
                "the journal has stopped answering and is left alone for a while; the command was not begun";
            Problem::new(ProblemKind::JournalUnavailable, words).retry_after(retry_after)
        }
        Failure::EventsLost { .. } => {
            let words = "the journal has lost events of the entity's shard, which waits for an operator";
            Problem::new(ProblemKind::EventsLost, words).retry_after(PARKED_PAUSE)
        }
        Failure::JournalDamaged { .. } => {
            let words =
                "the journal holds what it did not write in the entity's shard, which waits for an operator";
            Problem::new(ProblemKind::JournalDamaged, words).retry_after(PARKED_PAUSE)
        }
        Failure::ShardLost { .. } => Problem::new(
            ProblemKind::ShardLost,
            "another owner took the entity's shard while the request was here",
        ),
        Failure::NoOwner { reason } => {
            Problem::new(ProblemKind::NoOwner, "nobody serves the entity's shard at the moment").cause(reason)
        }
        Failure::ShuttingDown => Problem::new(ProblemKind::ShuttingDown, "the node is going down"),
        Failure::Expired => Problem::new(
            ProblemKind::Expired,
            "the deadline passed before the entity's code ran; it will not run",
        ),
        Failure::TimedOut => {
            Problem::new(ProblemKind::TimedOut, "the deadline passed while the request was being handled")
        }
        Failure::Abandoned => {
            Problem::new(ProblemKind::Abandoned, "the entity let go of the request without an answer")
        }
    };
    problem.outcome(outcome)
}

#[cfg(test)]
mod tests {
    use abide_persistence::SequenceNr;
    use abide_persistence::model::Outcome::{self, None as Nothing, Unknown};
    use axum::http::header::RETRY_AFTER;

    use super::*;

    /// What stores and user code say.
    fn secret() -> String {
        "/var/lib/abide: 10.0.0.1".to_owned()
    }

    fn journal(outcome: Outcome) -> Failure {
        Failure::JournalFailed { reason: secret(), outcome, retry_after: Duration::from_millis(4200) }
    }

    #[test]
    fn every_failure_has_its_status_type_outcome_and_pause() {
        let not_a_command = Failure::NotACommand { path: ".by".to_owned(), reason: "no".to_owned() };
        let rows = [
            (Failure::UnknownType, 404, "unknown-entity-type", Nothing, None),
            (not_a_command, 422, "not-a-command", Nothing, None),
            (
                Failure::EventRejected { reason: "large".to_owned(), outcome: Nothing },
                422,
                "event-rejected",
                Nothing,
                None,
            ),
            (
                Failure::ConditionFailed { expected: SequenceNr(3), found: SequenceNr(4) },
                412,
                "condition-failed",
                Nothing,
                None,
            ),
            (Failure::EntityBusy { capacity: 7 }, 429, "entity-busy", Nothing, Some("1")),
            (Failure::NodeBusy { capacity: 7 }, 429, "node-busy", Nothing, Some("1")),
            (Failure::Panicked { what: secret(), outcome: Nothing }, 500, "entity-panicked", Nothing, None),
            (Failure::Panicked { what: secret(), outcome: Unknown }, 500, "entity-panicked", Unknown, None),
            (
                Failure::AnswerNotEncodable { reason: secret(), outcome: Unknown },
                500,
                "answer-not-encodable",
                Unknown,
                None,
            ),
            (Failure::Parked { reason: secret() }, 503, "entity-parked", Nothing, Some("30")),
            (journal(Nothing), 503, "journal-failed", Nothing, Some("5")),
            (journal(Unknown), 503, "journal-failed", Unknown, Some("5")),
            (
                Failure::JournalUnavailable { retry_after: Duration::from_millis(11_500) },
                503,
                "journal-unavailable",
                Nothing,
                Some("12"),
            ),
            (Failure::EventsLost { outcome: Nothing }, 503, "events-lost", Nothing, Some("30")),
            (Failure::EventsLost { outcome: Unknown }, 503, "events-lost", Unknown, Some("30")),
            (Failure::JournalDamaged { outcome: Nothing }, 503, "journal-damaged", Nothing, Some("30")),
            (Failure::JournalDamaged { outcome: Unknown }, 503, "journal-damaged", Unknown, Some("30")),
            (Failure::ShardLost { outcome: Nothing }, 503, "shard-lost", Nothing, Some("1")),
            (Failure::ShardLost { outcome: Unknown }, 503, "shard-lost", Unknown, Some("1")),
            (Failure::NoOwner { reason: secret() }, 503, "no-owner", Nothing, Some("1")),
            (Failure::ShuttingDown, 503, "shutting-down", Nothing, Some("1")),
            (Failure::Expired, 504, "expired", Nothing, None),
            (Failure::TimedOut, 504, "timed-out", Unknown, None),
            (Failure::Abandoned, 500, "abandoned", Unknown, None),
        ];
        for (failure, status, slug, outcome, pause) in rows {
            let words = failure.to_string();
            let problem = problem_of(failure);
            assert_eq!((problem.kind.slug(), problem.outcome), (slug, outcome), "{words}");
            assert!(!problem.detail.contains("/var/lib"), "{words}");
            let response = problem.into_response();
            assert_eq!(response.status(), status, "{words}");
            let told = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok());
            assert_eq!(told, pause, "{words}");
        }
    }

    #[test]
    fn what_is_hidden_from_the_client_is_kept_for_the_log() {
        assert_eq!(problem_of(journal(Unknown)).cause, Some(secret()));
    }
}
