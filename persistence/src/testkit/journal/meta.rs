//! What the journal was first used with.

use std::sync::Arc;

use crate::ids::ShardCount;
use crate::journal::{Journal, JournalMeta};

/// Of two that expect the same, one wins; and what is there is what the last winner wrote.
pub async fn meta_is_replaced_only_if_it_is_what_was_expected(journal: Arc<dyn Journal>) {
    let meta = |generation| JournalMeta {
        format: JournalMeta::FORMAT,
        shards: ShardCount::new(1024).expect("in range"),
        hash: JournalMeta::HASH.to_owned(),
        cluster: u128::MAX - 1,
        generation,
    };
    let before = journal.meta().await.expect("read");
    let generation = before.as_ref().map_or(1, |meta| meta.generation + 1);
    let wrong = Some(meta(generation + 7));
    assert_eq!(journal.replace_meta(wrong, meta(generation)).await, Ok(false));
    assert_eq!(journal.meta().await, Ok(before.clone()));

    let (one, two) = (
        journal.replace_meta(before.clone(), meta(generation)),
        journal.replace_meta(before.clone(), meta(generation + 1)),
    );
    let (one, two) = (one.await.expect("answered"), two.await.expect("answered"));
    assert!(one != two, "exactly one of two replaces it");
    let now = meta(if one { generation } else { generation + 1 });
    assert_eq!(journal.meta().await, Ok(Some(now.clone())));
    assert_eq!(journal.replace_meta(before, meta(generation + 9)).await, Ok(false));
    assert_eq!(journal.replace_meta(Some(now), meta(generation + 3)).await, Ok(true));
    assert_eq!(journal.meta().await, Ok(Some(meta(generation + 3))));
    assert_eq!(journal.health().await, Ok(()));
}
