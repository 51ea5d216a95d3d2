//! What a store says to a server, told apart; and the writes that the cases make.

use abide_chaos_tests::proxy::Request;
use abide_persistence::journal::Write;
use abide_persistence::testkit;
use abide_persistence::{PersistenceId, SequenceNr, ShardId};
use bytes::Bytes;

fn names_fence_of(request: &Request, shard: ShardId) -> bool {
    request.is("EVALSHA") && request.has(format!("{{abide:{}}}:f", shard.0).as_bytes())
}

/// A batch of a shard. Its script is given more keys than the fence.
pub(crate) fn is_batch(shard: ShardId) -> impl Fn(&Request) -> bool + Send + 'static {
    move |request| names_fence_of(request, shard) && request.words[2] != b"1"
}

/// A claim or a batch of a shard.
pub(crate) fn is_change(shard: ShardId) -> impl Fn(&Request) -> bool + Send + 'static {
    move |request| names_fence_of(request, shard)
}

/// An atomic write of the events that the testkit's owner expects.
pub(crate) fn append(id: &PersistenceId, first: u64, count: u64) -> Write {
    let event = |number: u64| testkit::event(number, format!("event-{number}").as_bytes());
    let events: Vec<Bytes> = (first..first + count).map(event).collect();
    Write::Append { persistence_id: id.clone(), first: SequenceNr(first), events }
}
