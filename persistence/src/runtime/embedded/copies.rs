//! Values on their own: the engine's slices keep the whole block alive that they were cut from.
//!
//! Small values of one answer lie in one piece of memory. It is made by a reader's thread and dropped by
//! whoever asked, and memory that changes threads is dear to give back: once for a piece, not for each value.

use bytes::{Bytes, BytesMut};

/// Copies values for one answer.
pub(super) struct Copies {
    room: BytesMut,
}

impl Copies {
    /// As large as a block of the engine: who keeps one value keeps no more than its slice would have.
    /// Larger values get pieces of their own size.
    const PIECE_BYTES: usize = 4096;

    pub(super) fn new() -> Self {
        Self { room: BytesMut::with_capacity(Self::PIECE_BYTES) }
    }

    pub(super) fn take(&mut self, value: &[u8]) -> Bytes {
        self.room.extend_from_slice(value);
        self.room.split().freeze()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_all_sizes_come_out_as_they_went_in() {
        let sizes = [0, 1, 4000, 95, 1, 100_000, 7, Copies::PIECE_BYTES, 3];
        let value = |size: usize| vec![size as u8; size];
        let mut copies = Copies::new();
        let taken: Vec<Bytes> = sizes.iter().map(|size| copies.take(&value(*size))).collect();
        drop(copies);
        assert!(taken.iter().zip(sizes).all(|(taken, size)| *taken == value(size)));
    }

    #[test]
    fn small_values_share_a_piece() {
        let mut copies = Copies::new();
        let (one, other) = (copies.take(b"one"), copies.take(b"other"));
        assert_eq!(one.as_ptr_range().end, other.as_ptr());
    }
}
