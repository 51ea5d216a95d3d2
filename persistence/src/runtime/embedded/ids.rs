//! Which entities there are: the keyspace `ids`.
//!
//! A row is written in the commit that stores a stream's first event, and never removed. Journals that were
//! written before there were such rows get them at their next start.

use fjall::{Keyspace, Readable, Snapshot as View};

use super::disk::{Disk, Fault};
use super::reader;
use crate::ids::{EntityId, PersistenceIdHash, ShardCount, ShardId};
use crate::journal::{IdPage, ListIds};

/// Above all shards.
const COMPLETE: &[u8] = b"\xffcomplete";
/// Rows in one commit while the keyspace is filled.
const ROWS: usize = 10_000;

/// A page of ids: one look-up and as many steps as there are ids in it.
pub(super) fn page(disk: &Disk, query: &ListIds) -> Result<IdPage, Fault> {
    let mut prefix = query.shard.0.to_be_bytes().to_vec();
    prefix.extend_from_slice(query.entity_type.as_bytes());
    prefix.push(b'|');
    let mut from = prefix.clone();
    if let Some(after) = &query.after {
        from.extend_from_slice(after.as_str().as_bytes());
        // The least key above: no id holds a control character.
        from.push(0);
    }
    let mut end = prefix.clone();
    // Above every byte of UTF-8.
    end.push(0xff);
    let mut page = IdPage::default();
    for row in disk.view().range(&disk.ids, from..end) {
        if page.ids.len() >= query.limit {
            page.more = true;
            break;
        }
        let key = row.key()?;
        let id = std::str::from_utf8(&key[prefix.len()..]).ok().and_then(|id| EntityId::new(id).ok());
        page.ids.push(id.ok_or_else(|| Fault::Damaged("a row in `ids` holds no entity id".to_owned()))?);
    }
    Ok(page)
}

/// Makes sure that every stream has its row.
pub(super) fn complete(disk: &Disk) -> Result<(), Fault> {
    let view = disk.view();
    if view.contains_key(&disk.ids, COMPLETE)? {
        return Ok(());
    }
    // Without a number of shards nobody has used this journal but tests, which do not look back.
    let shards = reader::meta(disk, &view)?.map(|meta| meta.shards);
    let mut rows = Vec::new();
    if let Some(shards) = shards {
        for keyspace in [&disk.events, &disk.streams] {
            streams(&view, keyspace, |stream| {
                rows.push(row(stream, shards)?);
                if rows.len() >= ROWS { store(disk, std::mem::take(&mut rows)) } else { Ok(()) }
            })?;
        }
    }
    rows.push(COMPLETE.to_vec());
    store(disk, rows)
}

/// Names each stream of a keyspace once; steps over its rows, however many there are.
fn streams(
    view: &View,
    keyspace: &Keyspace,
    mut each: impl FnMut(&[u8]) -> Result<(), Fault>,
) -> Result<(), Fault> {
    let mut from = Vec::new();
    while let Some(row) = view.range(keyspace, from..).next() {
        let key = row.key()?;
        let stream = key.split(|byte| *byte == 0).next().unwrap_or_default();
        each(stream)?;
        // The keys of a stream go on with 00, if at all; those of others with what no id holds below 01.
        from = [stream, &[1]].concat();
    }
    Ok(())
}

fn row(stream: &[u8], shards: ShardCount) -> Result<Vec<u8>, Fault> {
    let name = std::str::from_utf8(stream).ok().and_then(|name| name.split_once('|'));
    let (entity_type, id) =
        name.ok_or_else(|| Fault::Damaged("a stream has a name that is no persistence id".to_owned()))?;
    let shard: ShardId = PersistenceIdHash::of(entity_type, id).shard(shards);
    Ok([&shard.0.to_be_bytes(), stream].concat())
}

fn store(disk: &Disk, rows: Vec<Vec<u8>>) -> Result<(), Fault> {
    let mut batch = disk.db.batch().durability(Some(fjall::PersistMode::SyncAll));
    for row in rows {
        batch.insert(&disk.ids, row, []);
    }
    Ok(batch.commit()?)
}
