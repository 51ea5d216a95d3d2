//! Every way in which a request can fail, with its stable name and its status.

use axum::http::StatusCode;

/// A kind of problem: the `type` of a problem document, its title and its status.
///
/// Types are part of the contract with clients: they may be added, never changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ProblemKind {
    /// The body is not JSON, or empty.
    NotJson,
    /// The id breaks the rules for entity ids.
    BadEntityId,
    /// The path or query is not well-formed.
    BadTarget,
    /// A header has a value that it cannot have.
    BadHeader,
    /// A parameter of the query is unknown, repeated or impossible; `parameter` names it.
    BadParameter,
    /// There is no event of the number that `at` asks for yet; `last` is the highest.
    BeyondLastEvent,
    /// The body ended before its announced end.
    BrokenBody,
    /// The entity type is registered nowhere.
    UnknownEntityType,
    /// Nothing is at this path.
    UnknownPath,
    /// The path does not know the method; `Allow` tells which it knows.
    MethodNotAllowed,
    /// The body did not arrive in time.
    SlowBody,
    /// The entity said no; `rejection` has its words.
    Rejected,
    /// The entity's last event, `last`, is not the one that `If-Match` names.
    ConditionFailed,
    /// The events that the answer would be made of were deleted, up to `deleted_to`.
    EventsDeleted,
    /// The body has too many bytes.
    BodyTooLarge,
    /// The body does not say that it is JSON.
    UnsupportedMediaType,
    /// JSON, but no command of this type; `path` tells where.
    NotACommand,
    /// The command's event can never be stored; the same command will fail again.
    EventRejected,
    /// The entity's queue is full.
    EntityBusy,
    /// The node's queue is full.
    NodeBusy,
    /// The entity's code panicked.
    EntityPanicked,
    /// The entity's answer cannot be encoded.
    AnswerNotEncodable,
    /// The entity let go of the request without an answer.
    Abandoned,
    /// The gateway panicked: a bug of Abide.
    GatewayPanicked,
    /// The request asks for something that this version cannot do; `header` or `parameter` names it.
    NotSupported,
    /// The entity cannot be recovered.
    EntityParked,
    /// The journal did not acknowledge.
    JournalFailed,
    /// The journal has stopped answering, and the command was not begun.
    JournalUnavailable,
    /// The journal has lost events of the entity's shard, which waits for an operator.
    EventsLost,
    /// The journal holds what it did not write in the entity's shard, which waits for an operator.
    JournalDamaged,
    /// The shard moved away while the request was there.
    ShardLost,
    /// The shard has no owner now.
    NoOwner,
    /// The node is going down.
    ShuttingDown,
    /// The node serves as many live streams as it may.
    TooManyStreams,
    /// The deadline passed before the entity's code ran.
    Expired,
    /// The deadline passed while the request was being handled.
    TimedOut,
}

impl ProblemKind {
    /// Stands before the slug in a problem's `type`.
    pub const URN_PREFIX: &str = "urn:abide:problem:";

    /// All of them.
    pub const ALL: [Self; 36] = [
        Self::NotJson,
        Self::BadEntityId,
        Self::BadTarget,
        Self::BadHeader,
        Self::BadParameter,
        Self::BeyondLastEvent,
        Self::BrokenBody,
        Self::UnknownEntityType,
        Self::UnknownPath,
        Self::MethodNotAllowed,
        Self::SlowBody,
        Self::Rejected,
        Self::ConditionFailed,
        Self::EventsDeleted,
        Self::BodyTooLarge,
        Self::UnsupportedMediaType,
        Self::NotACommand,
        Self::EventRejected,
        Self::EntityBusy,
        Self::NodeBusy,
        Self::EntityPanicked,
        Self::AnswerNotEncodable,
        Self::Abandoned,
        Self::GatewayPanicked,
        Self::NotSupported,
        Self::EntityParked,
        Self::JournalFailed,
        Self::JournalUnavailable,
        Self::EventsLost,
        Self::JournalDamaged,
        Self::ShardLost,
        Self::NoOwner,
        Self::ShuttingDown,
        Self::TooManyStreams,
        Self::Expired,
        Self::TimedOut,
    ];

    const fn row(self) -> (StatusCode, &'static str, &'static str) {
        match self {
            Self::NotJson => (StatusCode::BAD_REQUEST, "not-json", "The body is not JSON"),
            Self::BadEntityId => (StatusCode::BAD_REQUEST, "bad-entity-id", "The id breaks the rules"),
            Self::BadTarget => {
                (StatusCode::BAD_REQUEST, "bad-target", "The path or query is not well-formed")
            }
            Self::BadHeader => (StatusCode::BAD_REQUEST, "bad-header", "A header has an impossible value"),
            Self::BadParameter => (
                StatusCode::BAD_REQUEST,
                "bad-parameter",
                "A parameter is unknown or has an impossible value",
            ),
            Self::BeyondLastEvent => {
                (StatusCode::BAD_REQUEST, "beyond-last-event", "The entity has no such event yet")
            }
            Self::BrokenBody => (StatusCode::BAD_REQUEST, "broken-body", "The body ended too early"),
            Self::UnknownEntityType => (StatusCode::NOT_FOUND, "unknown-entity-type", "No such entity type"),
            Self::UnknownPath => (StatusCode::NOT_FOUND, "unknown-path", "Nothing is at this path"),
            Self::MethodNotAllowed => {
                (StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed", "The path does not know this method")
            }
            Self::SlowBody => (StatusCode::REQUEST_TIMEOUT, "slow-body", "The body did not arrive in time"),
            Self::Rejected => (StatusCode::CONFLICT, "rejected", "The entity rejected the command"),
            Self::ConditionFailed => {
                (StatusCode::PRECONDITION_FAILED, "condition-failed", "The entity is not as expected")
            }
            Self::EventsDeleted => (StatusCode::GONE, "events-deleted", "The events were deleted"),
            Self::BodyTooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "body-too-large", "The body is too large"),
            Self::UnsupportedMediaType => (
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "unsupported-media-type",
                "The body does not say that it is JSON",
            ),
            Self::NotACommand => (
                StatusCode::UNPROCESSABLE_ENTITY,
                "not-a-command",
                "The body is no command of this entity type",
            ),
            Self::EventRejected => {
                (StatusCode::UNPROCESSABLE_ENTITY, "event-rejected", "The command's event cannot be stored")
            }
            Self::EntityBusy => (StatusCode::TOO_MANY_REQUESTS, "entity-busy", "The entity's queue is full"),
            Self::NodeBusy => (StatusCode::TOO_MANY_REQUESTS, "node-busy", "The node's queue is full"),
            Self::EntityPanicked => {
                (StatusCode::INTERNAL_SERVER_ERROR, "entity-panicked", "The entity's code panicked")
            }
            Self::AnswerNotEncodable => (
                StatusCode::INTERNAL_SERVER_ERROR,
                "answer-not-encodable",
                "The entity's answer cannot be encoded",
            ),
            Self::Abandoned => (StatusCode::INTERNAL_SERVER_ERROR, "abandoned", "The entity gave no answer"),
            Self::GatewayPanicked => {
                (StatusCode::INTERNAL_SERVER_ERROR, "gateway-panicked", "The gateway panicked")
            }
            Self::NotSupported => {
                (StatusCode::NOT_IMPLEMENTED, "not-supported", "This version cannot do that")
            }
            Self::EntityParked => {
                (StatusCode::SERVICE_UNAVAILABLE, "entity-parked", "The entity cannot be recovered")
            }
            Self::JournalFailed => (StatusCode::SERVICE_UNAVAILABLE, "journal-failed", "The journal failed"),
            Self::JournalUnavailable => {
                (StatusCode::SERVICE_UNAVAILABLE, "journal-unavailable", "The journal has stopped answering")
            }
            Self::EventsLost => {
                (StatusCode::SERVICE_UNAVAILABLE, "events-lost", "The journal has lost events")
            }
            Self::JournalDamaged => (
                StatusCode::SERVICE_UNAVAILABLE,
                "journal-damaged",
                "The journal holds what it did not write",
            ),
            Self::ShardLost => {
                (StatusCode::SERVICE_UNAVAILABLE, "shard-lost", "The entity's shard moved away")
            }
            Self::NoOwner => {
                (StatusCode::SERVICE_UNAVAILABLE, "no-owner", "The entity's shard has no owner now")
            }
            Self::ShuttingDown => {
                (StatusCode::SERVICE_UNAVAILABLE, "shutting-down", "The node is going down")
            }
            Self::TooManyStreams => (
                StatusCode::SERVICE_UNAVAILABLE,
                "too-many-streams",
                "The node serves no further live stream",
            ),
            Self::Expired => {
                (StatusCode::GATEWAY_TIMEOUT, "expired", "The deadline passed before the request ran")
            }
            Self::TimedOut => {
                (StatusCode::GATEWAY_TIMEOUT, "timed-out", "The deadline passed while the request ran")
            }
        }
    }

    /// The HTTP status.
    pub const fn status(self) -> StatusCode {
        self.row().0
    }

    /// The last part of a problem's `type`.
    pub const fn slug(self) -> &'static str {
        self.row().1
    }

    /// The problem's `title`.
    pub const fn title(self) -> &'static str {
        self.row().2
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_kind_is_listed_once_under_a_name_of_its_own() {
        let slugs: BTreeSet<_> = ProblemKind::ALL.iter().map(|kind| kind.slug()).collect();
        assert_eq!(slugs.len(), ProblemKind::ALL.len());
        assert_eq!(ProblemKind::ALL.last().map(|last| *last as usize + 1), Some(ProblemKind::ALL.len()));
    }
}
