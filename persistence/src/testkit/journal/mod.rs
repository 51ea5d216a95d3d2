//! What a [`Journal`] promises.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use crate::journal::Journal;
use crate::testkit::ids;

pub mod deletion;
pub mod doubt;
pub mod fencing;
pub mod late;
pub mod loss;
pub mod meta;
pub mod races;
pub mod reading;
pub mod sizes;
pub mod writing;

/// A case, ready to be run on a journal.
pub type Case = fn(Arc<dyn Journal>) -> Pin<Box<dyn Future<Output = ()> + Send>>;

/// Lists cases under their names.
macro_rules! cases {
    ($($module:ident :: { $($case:ident),+ $(,)? })+) => {
        &[$($((stringify!($case), |journal| Box::pin($module::$case(journal)))),+),+]
    };
}

/// Every case, by name.
pub const CASES: &[(&str, Case)] = cases! {
    reading::{
        a_whole_stream_is_read_in_order,
        every_window_holds_what_it_names_and_the_last_number_of_the_stream,
        an_unknown_entity_has_no_events_and_number_0,
        a_page_ends_after_its_number_of_events,
        a_page_ends_after_the_event_that_reaches_its_bytes,
        a_page_of_no_events_tells_the_numbers,
        a_deciding_read_counts_only_under_the_claim_that_holds_the_shard,
        a_read_that_decides_nothing_needs_no_claim,
        an_acknowledged_write_is_read_at_once,
    }
    writing::{
        an_append_that_does_not_follow_the_end_is_a_conflict_and_stores_nothing,
        a_batch_of_many_entities_is_stored_whole,
        one_conflict_refuses_the_whole_batch,
        an_entity_may_be_written_more_than_once_in_a_batch,
        a_refused_batch_does_not_use_its_number,
        an_empty_batch_counts,
        shards_are_written_at_the_same_time,
        ids_that_are_prefixes_of_each_other_stay_apart,
        odd_ids_stay_apart,
        what_was_written_comes_back_byte_for_byte,
    }
    fencing::{
        only_a_strictly_higher_claim_takes_a_shard,
        a_repeated_claim_is_acknowledged_until_something_is_written,
        a_late_copy_of_a_claim_changes_nothing,
        two_processes_at_one_epoch_are_told_apart,
        two_clusters_at_one_generation_are_told_apart,
        an_older_generation_is_usurped,
        a_newer_generation_takes_the_shard,
        nothing_is_written_to_an_unclaimed_shard,
        batches_run_once_and_in_order,
        a_repeated_batch_is_acknowledged_and_not_stored_twice,
        a_batch_out_of_turn_is_refused,
        a_deposed_owner_cannot_append,
        another_process_cannot_write_under_a_claim,
        a_late_batch_of_an_earlier_session_is_fenced,
    }
    late::{
        an_old_batch_changes_nothing_whenever_it_arrives,
        other_bytes_under_a_used_number_are_not_stored,
        a_late_deletion_deletes_nothing,
        an_old_claim_changes_nothing_whenever_it_arrives,
    }
    loss::{
        a_claim_that_knows_of_more_than_there_is_is_refused_and_changes_nothing,
        a_claim_that_knows_of_what_is_there_takes_the_shard,
        a_claim_that_knows_of_something_is_refused_where_nothing_is,
        a_repeated_claim_that_knows_of_something_is_acknowledged,
        a_newer_owner_and_a_second_one_come_before_a_loss,
        a_batch_whose_claim_is_not_there_finds_a_loss,
    }
    doubt::{
        a_batch_in_doubt_is_stored_whole_or_not_at_all_once_the_shard_is_claimed_again,
        a_batch_in_doubt_that_is_sent_again_is_stored_once,
        a_claim_in_doubt_is_sent_again,
        a_deletion_in_doubt_is_done_or_not,
        a_batch_that_a_claim_overtakes_is_never_stored,
    }
    races::{
        of_two_batches_under_one_number_one_is_stored,
        a_batch_sent_behind_another_comes_after_it_or_not_at_all,
        of_two_owners_one_writes,
    }
    deletion::{
        deleted_events_are_not_read_and_the_others_are,
        the_record_of_a_deletion_is_handed_back,
        deletion_keeps_the_highest_number,
        deleting_everything_keeps_the_highest_number,
        deleting_beyond_the_end_deletes_what_is_there,
        deleting_again_or_less_changes_nothing,
        windows_around_a_deletion_hold_the_survivors,
        events_and_their_deletion_may_share_a_batch,
        a_refused_batch_deletes_nothing,
        deleting_of_an_unknown_entity_changes_nothing,
    }
    ids::{
        ids_are_listed_by_shard_and_type_in_the_order_of_their_bytes,
        ids_come_in_pages_without_gaps_or_repeats,
        an_id_stays_listed_when_all_its_events_are_deleted,
        what_was_refused_is_not_listed,
    }
    meta::{
        meta_is_replaced_only_if_it_is_what_was_expected,
    }
    sizes::{
        the_limits_hold_together,
        payloads_of_one_byte_and_of_ten_million_are_kept,
        what_is_beyond_the_limits_is_kept_or_named_and_rejected,
        a_batch_at_the_limit_is_stored,
        a_hundred_thousand_events_are_read_in_bounded_pages,
    }
};

/// Runs every case, each on the journal that `make` hands out for it.
pub async fn run_all<F, Fut>(make: F)
where
    F: Fn() -> Fut,
    Fut: Future<Output = Arc<dyn Journal>>,
{
    for (name, case) in CASES {
        eprintln!("testkit: journal: {name}");
        case(make().await).await;
    }
}
