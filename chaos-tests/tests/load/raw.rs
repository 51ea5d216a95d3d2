//! The lists as they lie on the servers, read without the store.

use abide_chaos_tests::redis::{Ground, view};
use anyhow::Result;
use bytes::Bytes;

use super::book::{STREAMS, Shard};

/// Events that are read at once.
const PAGE: usize = 5000;

/// The events of all streams of a shard, from the primary that serves it.
pub(super) async fn lists(ground: &Ground, shard: &Shard) -> Result<Vec<Vec<Bytes>>> {
    let primary = ground.primary_of(slot_of(shard)).await?;
    let mut connection = primary.connect().await?;
    let mut lists = Vec::with_capacity(STREAMS);
    for at in 0..STREAMS {
        let key = format!("{}:e:{}", tag(shard), shard.stream(at));
        let mut list: Vec<Bytes> = Vec::new();
        loop {
            let (begin, end) = (list.len(), list.len() + PAGE - 1);
            let range = redis::cmd("LRANGE").arg(&key).arg(begin).arg(end).to_owned();
            let page: Vec<Vec<u8>> = range.query_async(&mut connection).await?;
            let is_last = page.len() < PAGE;
            list.extend(page.into_iter().map(Bytes::from));
            if is_last {
                break;
            }
        }
        lists.push(list);
    }
    Ok(lists)
}

/// The slot of a shard.
pub(crate) fn slot_of(shard: &Shard) -> u16 {
    view::slot_of(tag(shard).as_bytes())
}

fn tag(shard: &Shard) -> String {
    format!("{{{}:{}}}", shard.prefix, shard.number)
}
