//! The contract of [`Tasks`], [`Modules`], [`Reads`], [`Access`], [`Schedules`], [`Workflows`],
//! [`Definitions`], [`Trail`] and [`Callbacks`] as tests, one body per behaviour,
//! for every backend.
//!
//! A backend's own test module calls [`conformance`] with its [`Backend`] and gets one test for
//! each body. Properties of one backend only (a lock, a full disk) are tested beside that backend.

pub(crate) mod access;
pub(crate) mod batch_ends;
pub(crate) mod batches;
pub(crate) mod callbacks;
pub(crate) mod claims;
pub(crate) mod definitions;
pub(crate) mod files;
pub(crate) mod fixture;
pub(crate) mod listing;
pub(crate) mod model;
pub(crate) mod modules;
pub(crate) mod outcomes;
pub(crate) mod placements;
pub(crate) mod pruning;
pub(crate) mod quotas;
pub(crate) mod races;
pub(crate) mod rescues;
pub(crate) mod schedules;
pub(crate) mod secrets;
pub(crate) mod submission;
pub(crate) mod tenants;
pub(crate) mod trail;
pub(crate) mod turns;
pub(crate) mod workers;
pub(crate) mod workflows;

use std::future::Future;

use crate::secrets::KeptSecrets;
use crate::settings::{ClaimRules, StorageConfig};
use crate::trail::Trail;
use crate::{Access, Callbacks, Definitions, Modules, Reads, Schedules, Tasks, Workflows};

/// A whole backend.
pub(crate) trait Storage:
    Tasks
    + Modules
    + Reads
    + Access
    + KeptSecrets
    + Schedules
    + Workflows
    + Definitions
    + Trail
    + Callbacks
{
}

impl<T> Storage for T where
    T: Tasks
        + Modules
        + Reads
        + Access
        + KeptSecrets
        + Schedules
        + Workflows
        + Definitions
        + Trail
        + Callbacks
{
}

/// A backend under test, with its own database.
pub(crate) trait Backend: Sized + Send + Sync {
    /// A new database that has the module of [`fixture::spec`] and nothing else.
    fn fresh() -> impl Future<Output = Self> + Send;

    /// The storage on it.
    fn storage(&self) -> &dyn Storage;

    /// The same database, closed and opened again.
    fn reopened(self) -> impl Future<Output = Self> + Send;

    /// The same, by other rules for claims.
    fn reopened_with(self, rules: ClaimRules) -> impl Future<Output = Self> + Send;

    /// Panics if the database is inconsistent, counters included.
    fn check(&self) -> impl Future<Output = ()> + Send;
}

/// A backend whose audit trail somebody tampers with.
pub(crate) trait Tampered: Backend {
    /// How its database is opened.
    fn config(&self) -> StorageConfig;

    /// Has the database do something to the trail by hand, without its triggers. `TRAIL` stands for its table,
    /// `HEX[…]` for bytes and `NEWID` for an id that nothing has.
    fn tamper(&self, sql: &str);

    /// Panics unless the triggers of the trail refuse it.
    fn refuses(&self, sql: &str);
}

/// One test for each body.
macro_rules! conformance {
    ($backend:ty: $($area:ident { $($body:ident)* })*) => {
        $(mod $area {
            use super::*;
            $(
                #[tokio::test]
                async fn $body() {
                    let backend = <$backend as $crate::conformance::Backend>::fresh().await;
                    let backend = $crate::conformance::$area::$body(backend).await;
                    $crate::conformance::Backend::check(&backend).await;
                }
            )*
        })*
    };
    ($backend:ty) => {
        $crate::conformance::conformance! { $backend:
            submission {
                what_was_submitted_is_read_back a_key_or_id_names_its_first_request
                a_dedup_key_is_held_for_its_window a_batch_is_all_or_none
                a_conflict_stores_nothing_of_its_submission
                a_full_queue_answers_what_it_has no_more_tasks_wait_than_may
                a_version_that_is_gone_takes_no_task
            }
            claims {
                priority_order fifo_and_lifo_ignore_priority a_claim_counts_an_attempt
                a_task_with_a_future_run_at_waits next_run_at_is_the_earliest
            }
            turns {
                a_tenant_with_many_tasks_does_not_delay_another tenants_share_by_weight
                a_module_runs_no_more_than_its_bound a_bound_holds_for_what_waited_before_it
                a_tenant_runs_no_more_than_its_bound a_low_task_is_not_starved
            }
            tenants {
                each_tenant_has_keys_of_its_own an_id_that_another_tenant_has_is_taken
                what_another_tenant_has_is_unknown lists_and_counts_are_of_one_tenant
            }
            quotas {
                a_tenant_has_no_more_waiting_than_it_may what_runs_or_ended_takes_no_place
                one_of_many_gets_the_last_place a_tenants_bytes_are_counted_and_bounded
                a_tenants_modules_are_counted_and_bounded cpu_time_is_counted_by_tenant_and_day
                who_is_held_back_waits_and_nobody_else
            }
            placements {
                a_task_is_for_workers_that_have_all_it_requires
                a_preferred_worker_has_the_task_to_itself_for_a_while
                what_nobody_serves_is_in_nobodys_way
            }
            batches {
                a_batch_is_stored_whole_or_not_at_all a_key_stands_for_its_first_batch
                earlier_tasks_take_their_places_in_a_batch no_more_are_under_way_than_the_bound
                an_end_gives_the_place_away a_batch_is_cancelled_task_by_task
                a_batch_goes_with_its_last_task ids_are_found_as_tasks_are
            }
            outcomes {
                a_result_is_kept_with_its_streams a_failure_is_kept retries_end_with_the_attempts
                progress_is_fenced cancel_by_state retry_by_hand a_given_back_task_is_not_charged
                an_attempt_that_never_began_is_forgotten an_end_too_large_for_a_row_is_refused
                a_large_output_is_kept_as_long_as_its_task a_postponed_task_waits_and_is_not_charged
            }
            races {
                one_finish_of_two_counts a_stale_fence_changes_nothing cancel_beats_a_retry
                a_cancel_beats_a_result no_task_is_claimed_twice
                a_cancel_beats_a_claim_given_back a_cancel_beats_a_loss
            }
            rescues {
                the_dead_are_told_from_the_living nothing_starves_behind_the_living
                a_task_that_loses_every_host_fails a_cancelled_task_is_not_run_again
            }
            workers {
                a_worker_is_known_by_what_it_told_last a_drain_is_heard_of_at_the_next_heartbeat
                workers_are_listed_page_by_page who_has_ended_loses_its_tasks_at_once
                silent_workers_without_tasks_are_removed
            }
            pruning {
                by_age_and_by_number running_tasks_stay blobs_go_with_their_last_task
                modules_go_with_their_last_task orphans_are_files_of_unknown_owners
                a_final_task_is_purged_with_all_it_left
            }
            access {
                keys_are_listed_with_what_was_said_of_them a_key_is_for_a_tenant_that_exists
                a_key_is_revoked_once a_rotated_key_ends_and_its_successor_does_not
                a_state_is_read_again_only_when_it_has_changed
                dead_keys_are_forgotten_and_the_last_is_not tenants_are_made_and_replaced
                a_tenant_goes_only_when_it_has_nothing
            }
            secrets {
                a_secret_is_its_tenants_alone no_more_secrets_than_there_may_be
                secrets_go_with_their_tenant
            }
            schedules {
                what_was_said_of_a_schedule_is_kept schedules_are_their_tenants an_instant_is_recorded_once
                a_tenant_has_so_many_schedules_at_most schedules_go_with_their_tenant
            }
            workflows {
                a_node_waits_for_all_before_it last_parents_that_end_at_once_release_their_kid
                every_way_to_end_releases the_final_state_is_what_its_nodes_say a_cancelled_workflow_ends
                a_paused_workflow_begins_nothing a_request_is_stored_once workflows_are_their_tenants
                workflows_are_listed_page_by_page a_workflow_goes_with_all_its_nodes
            }
            parking {
                a_node_waits_for_its_instances
                what_a_cancelled_node_waits_for_is_cancelled a_signal_is_given_to_one_node
                a_stop_ends_what_waits_for_a_signal a_claim_that_a_pause_missed_waits_for_its_end
            }
            ends {
                a_workflow_is_told_once_for_each_run only_ends_of_workflows_that_are_asked_for_are_told
                every_way_to_end_a_workflow_is_told the_end_of_a_workflow_goes_with_it
            }
            heirs {
                whoever_ends_a_node_has_what_it_releases nobody_has_what_is_anothers_turn
                nobody_has_what_is_less_urgent nobody_has_what_is_paused_or_cancelled
                whoever_claims_knows_whether_all_completed
            }
            retries { what_did_not_complete_is_tried_again instances_that_failed_are_tried_again }
            random { no_node_is_ever_left_behind }
            definitions {
                a_definition_means_what_was_put_last definitions_are_listed_by_name
                definitions_are_counted_and_bounded definitions_are_their_tenants
            }
            trail {
                entries_are_read_as_they_were_noted entries_are_found_and_cut_into_pages
                what_is_appended_at_once_is_one_chain nobody_changes_what_was_appended
                whoever_tampers_is_found_out a_trail_made_anew_is_found_out_by_a_note
                old_entries_go_and_the_rest_is_verified
            }
            callbacks {
                every_way_to_end_makes_one_delivery only_ends_that_are_asked_for_are_told
                a_delivery_is_taken_by_one_until_its_time_is_over lanes_are_found_one_by_one
                what_became_of_a_try_is_shown an_end_is_told_again_by_hand
                a_task_that_ends_again_is_told_again callbacks_go_with_their_task
                callbacks_are_their_tenants
            }
            batch_ends {
                a_batch_is_told_once_its_last_task_is_final only_ends_of_batches_that_are_asked_for_are_told
                of_two_last_tasks_one_ends_the_batch the_end_of_a_batch_goes_with_it
            }
            modules {
                a_name_means_what_was_put_last versions_are_kept_and_pinned names_are_listed_in_order
                a_name_is_its_tenants_or_everybodys
            }
            listing {
                newest_first_page_by_page by_their_ids by_state_module_and_priority by_change by_change_number
                by_label by_kind_of_failure by_metadata dead_letters
            }
            model {
                random_histories_agree bounded_histories_agree acknowledged_work_outlives_a_reopen
                who_pages_meanwhile_misses_no_change
            }
        }
    };
}
pub(crate) use self::workflows::{ends, heirs, parking, random, retries};
pub(crate) use conformance;
pub(crate) use files::files_conformance;
