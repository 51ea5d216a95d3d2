//! What a [`SnapshotStore`] promises.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use crate::journal::SnapshotStore;

pub mod choosing;
pub mod contents;
pub mod damage;
pub mod deleting;
pub mod racing;

mod shelf;

/// A case, ready to be run on a store.
pub type Case = fn(Arc<dyn SnapshotStore>) -> Pin<Box<dyn Future<Output = ()> + Send>>;

/// Lists cases under their names.
macro_rules! cases {
    ($($module:ident :: { $($case:ident),+ $(,)? })+) => {
        &[$($((stringify!($case), |store| Box::pin($module::$case(store)))),+),+]
    };
}

/// Every case, by name. Those for which a store is damaged are [`damage::CASES`].
pub const CASES: &[(&str, Case)] = cases! {
    choosing::{
        an_unknown_entity_has_no_snapshot,
        the_newest_is_loaded,
        what_matches_no_number_or_no_time_is_not_loaded,
        the_newest_up_to_a_number_is_loaded,
        the_newest_up_to_a_number_and_a_time_is_loaded,
        the_highest_number_wins_over_the_latest_time,
    }
    deleting::{
        one_may_be_deleted_by_its_number,
        all_that_match_are_deleted,
        what_does_not_match_is_not_deleted,
        deleting_nothing_is_no_error,
        a_window_of_numbers_or_times_is_deleted,
        an_entity_whose_snapshots_are_all_deleted_may_save_again,
    }
    contents::{
        a_second_one_with_the_same_number_replaces_the_first,
        a_snapshot_comes_back_as_it_was_saved,
        a_large_snapshot_is_kept,
        ids_that_are_prefixes_of_each_other_have_snapshots_of_their_own,
        a_bigger_snapshot_is_kept,
        what_a_codec_of_a_users_own_wrote_is_read_by_it,
        odd_ids_have_snapshots_of_their_own,
    }
    racing::{
        snapshots_saved_and_deleted_at_the_same_time_follow_the_order_of_the_calls,
        saves_of_one_number_that_race_leave_one_of_them_whole,
        a_load_finds_one_while_newer_ones_replace_older_ones,
        entities_save_at_the_same_time,
    }
};

/// Runs every case, each on the store that `make` hands out for it.
pub async fn run_all<F, Fut>(make: F)
where
    F: Fn() -> Fut,
    Fut: Future<Output = Arc<dyn SnapshotStore>>,
{
    for (name, case) in CASES {
        eprintln!("testkit: snapshots: {name}");
        case(make().await).await;
    }
}
