//! Which entities a journal lists; run by [`journal::run_all`](super::journal::run_all).

use std::sync::Arc;

use super::fresh::{named, shard_of};
use super::owner::{Owner, append};
use crate::ids::{EntityId, PersistenceId, ShardId};
use crate::journal::{IdPage, Journal, ListIds, Write, WriteError};

/// What the kit's entities are called.
const TYPE: &str = "testkit";

fn query(shard: ShardId, after: Option<&str>, limit: usize) -> ListIds {
    let after = after.map(|id| EntityId::new(id).expect("an entity id"));
    ListIds { shard, entity_type: TYPE.to_owned(), after, limit }
}

/// All of a shard, in pages of this size.
async fn all(journal: &Arc<dyn Journal>, shard: ShardId, limit: usize) -> Vec<String> {
    let (mut ids, mut after) = (Vec::<String>::new(), None);
    loop {
        let page = journal.persistence_ids(query(shard, after.as_deref(), limit)).await.expect("a page");
        let IdPage { ids: more_ids, more } = page;
        assert!(more_ids.len() <= limit, "a page of {} ids where {limit} were asked for", more_ids.len());
        assert!(!more || more_ids.len() == limit, "a page that is not full, though there is more");
        ids.extend(more_ids.iter().map(|id| id.as_str().to_owned()));
        after = ids.last().cloned();
        if !more {
            return ids;
        }
    }
}

/// Stores one event of each, every one in its shard.
async fn store(journal: &Arc<dyn Journal>, ids: &[PersistenceId]) {
    for id in ids {
        let mut owner = Owner::of(journal, id).await;
        // Cases may share a journal, and names that matter cannot be fresh.
        match owner.append(id, 1, 1).await {
            Ok(()) | Err(WriteError::Conflict { .. }) => {}
            Err(error) => panic!("{error}"),
        }
    }
}

/// Every entity is listed in its own shard, once, in the order of the bytes of the ids, whatever they are
/// made of: prefixes of each other, bars, slashes, anything above ASCII.
pub async fn ids_are_listed_by_shard_and_type_in_the_order_of_their_bytes(journal: Arc<dyn Journal>) {
    let names = [
        "l", "li", "li|", "li|st", "list", "list ", "list!", "list/x", "list|", "liste", "Li", "l\u{e4}",
        "日", "🦀",
    ];
    let ids = names.map(named);
    store(&journal, &ids).await;
    for id in &ids {
        let listed = all(&journal, shard_of(id), 3).await;
        assert_eq!(
            listed.iter().filter(|listed| *listed == id.id.as_str()).count(),
            1,
            "{id} is listed once"
        );
        assert!(listed.is_sorted_by(|a, b| a.as_bytes() < b.as_bytes()), "{listed:?}");
        assert!(listed.iter().all(|listed| shard_of(&named(listed)) == shard_of(id)), "{listed:?}");
    }
    let shard = shard_of(&ids[0]);
    for other in ["testki", "testkit-", "testkit2", "t", "other"] {
        let query = ListIds { entity_type: other.to_owned(), ..query(shard, None, 10) };
        let page = journal.persistence_ids(query).await.expect("a page");
        // Other cases may have entities of such types; they have none of these.
        let ours = |id: &EntityId| names.contains(&id.as_str());
        assert!(!page.ids.iter().any(ours), "none of these is a {other}: {page:?}");
    }
}

/// Pages of any size add up to the same list, and going on after an id that is not there goes on behind
/// its place.
pub async fn ids_come_in_pages_without_gaps_or_repeats(journal: Arc<dyn Journal>) {
    let (mut owner, first) = Owner::of_fresh_entity(&journal).await;
    let mut ids: Vec<_> = (0..7).map(|_| owner.fresh_id()).collect();
    ids.push(first);
    owner.write(ids.iter().map(|id| append(id, 1, 2)).collect()).await.expect("written");
    let whole = all(&journal, owner.shard, 100_000).await;
    for id in &ids {
        assert!(whole.iter().any(|listed| listed == id.id.as_str()), "{id} is listed");
    }
    for limit in [1, 2, 7, 8, 9] {
        assert_eq!(all(&journal, owner.shard, limit).await, whole, "pages of {limit}");
    }
    // One of our own: another case may have left an id that is as long as can be.
    let between = format!("{}!", ids[0].id);
    let page = journal.persistence_ids(query(owner.shard, Some(&between), 1)).await.expect("a page");
    assert_eq!(
        page.ids.first().map(EntityId::as_str),
        whole.iter().map(String::as_str).find(|id| *id > between.as_str())
    );
}

/// Deleting events deletes no entity.
pub async fn an_id_stays_listed_when_all_its_events_are_deleted(journal: Arc<dyn Journal>) {
    let (mut owner, id) = Owner::of_fresh_entity(&journal).await;
    owner.append(&id, 1, 3).await.expect("written");
    owner.delete_to(&id, 3).await.expect("deleted");
    assert!(all(&journal, owner.shard, 100).await.iter().any(|listed| listed == id.id.as_str()));
    let both = owner.fresh_id();
    let delete = Write::DeleteTo {
        persistence_id: both.clone(),
        to: crate::SequenceNr(2),
        record: Default::default(),
    };
    owner.write(vec![append(&both, 1, 2), delete]).await.expect("written");
    assert!(all(&journal, owner.shard, 100).await.iter().any(|listed| listed == both.id.as_str()));
}

/// An entity whose first write was refused, or that was only deleted from, is not there.
pub async fn what_was_refused_is_not_listed(journal: Arc<dyn Journal>) {
    let (mut owner, id) = Owner::of_fresh_entity(&journal).await;
    let refused = owner.write(vec![append(&id, 1, 1), append(&id, 5, 1)]).await;
    assert!(matches!(refused, Err(WriteError::Conflict { .. })), "{refused:?}");
    let never = owner.fresh_id();
    owner.delete_to(&never, 1).await.expect("nothing to delete");
    let listed = all(&journal, owner.shard, 100).await;
    for id in [id, never] {
        assert!(!listed.iter().any(|listed| listed == id.id.as_str()), "{id} has no event");
    }
}
