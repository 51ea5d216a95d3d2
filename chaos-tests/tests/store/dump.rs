//! All that a server holds, so that a test can say that nothing has changed.

use std::collections::BTreeMap;

use abide_chaos_tests::redis::Node;

/// Every key with its value, as the server would save it.
pub(crate) async fn dump(node: &Node) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let mut connection = node.connect().await.unwrap();
    let keys: Vec<Vec<u8>> = redis::cmd("KEYS").arg("*").query_async(&mut connection).await.unwrap();
    let mut all = BTreeMap::new();
    for key in keys {
        let value = redis::cmd("DUMP").arg(&key).query_async(&mut connection).await.unwrap();
        all.insert(key, value);
    }
    all
}
