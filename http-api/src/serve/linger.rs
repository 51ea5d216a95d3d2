//! Ends a connection whose client may still be sending.
//!
//! Closing a socket with unread bytes makes the kernel send a reset, and a reset makes the client's kernel
//! forget the answer that it has not read yet. So the end is announced first, and what still comes is read
//! and dropped, for a while.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

pub(super) async fn close(mut stream: TcpStream, patience: Duration) {
    if stream.shutdown().await.is_err() {
        return;
    }
    let drain = async {
        let mut scrap = [0; 4096];
        while matches!(stream.read(&mut scrap).await, Ok(1..)) {}
    };
    // Whether the client was done or our patience is over, nothing more is owed.
    let _ = tokio::time::timeout(patience, drain).await;
}
