//! The mistakes, and the case that must notice each.

/// What is wrong with a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// A claim does not compare the trigger's revision: an edit in between is lost.
    ClaimIgnoresTheRevision,
    /// A claim compares what it has read before it began to write: an edit in between is lost.
    ClaimComparesTooEarly,
    /// A claim does not compare the firing counter: what was decided about is decided about again.
    ClaimIgnoresTheFiringCounter,
    /// A claim does not compare the gate: what was planned before a standby fires after it.
    ClaimIgnoresTheGate,
    /// A claim takes no slot: exclusive work overlaps.
    ClaimIgnoresTheSlot,
    /// A claim moves the trigger before it compares: the occurrence of a lost claim is lost too.
    ClaimMovesTheTriggerFirst,
    /// A claim does not compare the fence of its lock: whoever lost the lock goes on claiming.
    ClaimIgnoresTheLock,
    /// A claim writes no skips: instants vanish.
    ClaimForgetsSkips,
    /// A ready row that is claimed again keeps its fence: two owners hold the same one.
    ReadyClaimRepeatsTheFence,
    /// A claim passes over a row at the place that it was told, and not only over what stands before: it never goes.
    ReadyClaimPassesOverThePlace,
    /// Claims of ready work do not compare the gate.
    ReadyClaimIgnoresTheGate,
    /// An end does not compare the fence: a node that was declared dead completes what another runs.
    SettleIgnoresTheFence,
    /// An end that is repeated is not recognised: the node takes its own work for lost.
    SettleForgetsWhatItHasDone,
    /// A row that goes back keeps its owner: nobody else takes it.
    BackKeepsTheOwner,
    /// A recovery does not count the attempt that was lost.
    RecoveryForgetsTheAttempt,
    /// A slot is freed without waking who waits for it.
    FreeingWakesNobody,
    /// Nobody looks for work that waits though its slot is free.
    WakeWaitingWakesNobody,
    /// A body may begin under a claim that has passed to another.
    BeginIgnoresTheFence,
    /// A node is declared dead though it has beaten since.
    TakeOverIgnoresTheBeat,
    /// A node that was declared dead is told that it is a member.
    CheckInRevivesTheDead,
    /// A node is told nothing of rows that name it: a claim whose answer was lost is never found.
    CheckInForgetsOwnedRows,
    /// Rows of a node that is up are offered as orphans: its work runs twice.
    OrphansOfTheLiving,
    /// Standby is noted, but the gate stays: a claim slips past.
    StandbyLeavesTheGate,
    /// An epoch is raised, says the answer, and is not: tokens of a restored store come again.
    RaisedEpochIsForgotten,
    /// Nodes are still up when the epoch was raised: what they claim has tokens of the old one.
    RaisingLeavesTheNodesUp,
    /// Work that is put in twice runs twice.
    EnqueueIsNotIdempotent,
    /// Delays are added to the clock of the client that asks.
    DelaysGoByTheClient,
    /// A batch of changes is applied one by one: half of a lost batch stays.
    ApplyIsNotAtomic,
    /// The last instant of a deleted trigger is forgotten: made anew, it fires again.
    DeletionForgetsTheMark,
    /// Cancelling forgets those that somebody runs.
    CancelForgetsOwnedRows,
    /// Due triggers come in any order: late ones starve.
    ReadForgetsTheOrder,
    /// A read does not say when to look again: the node sleeps too long.
    ReadForgetsTheNextWake,
    /// Upkeep deletes rows that live.
    PruneDeletesLiveRows,
    /// The fence of a lock begins anew with each holder.
    LockRepeatsTheFence,
    /// A lease that has ended can be renewed.
    LockRenewsWhatHasEnded,
    /// A batch of changes is applied in a transaction each: a crash leaves half of it.
    AppliesOneByOne,
    /// A batch of plans is claimed in a transaction each: a crash leaves half of it.
    ClaimsOneByOne,
    /// A batch of ends is written in a transaction each: a crash leaves half of it.
    SettlesOneByOne,
    /// A row that cannot be read is left out: it is never set aside, and nobody hears of it.
    ReadLeavesPoisonOut,
    /// A run goes on with the history that it read before it had the lock: what another did meanwhile is done again.
    MigrationsDecideTooEarly,
    /// The lock of migrations is a stored row: it outlives who dies with it, and a person has to delete it.
    MigrationLockIsARow,
    /// Each statement of a migration is a transaction of its own without a journal: a crash leaves half of it.
    MigrationsCommitEachStep,
    /// A rehearsal is kept.
    MigrationsKeepARehearsal,
    /// The history does not say which text was run.
    MigrationsForgetTheChecksum,
}

use Fault::*;

impl Fault {
    /// Faults that show in any store.
    pub const ALL: &'static [Self] = &[
        ClaimIgnoresTheRevision,
        ClaimIgnoresTheFiringCounter,
        ClaimIgnoresTheGate,
        ClaimIgnoresTheSlot,
        ClaimMovesTheTriggerFirst,
        ClaimIgnoresTheLock,
        ClaimForgetsSkips,
        ReadyClaimRepeatsTheFence,
        ReadyClaimPassesOverThePlace,
        ReadyClaimIgnoresTheGate,
        SettleIgnoresTheFence,
        SettleForgetsWhatItHasDone,
        BackKeepsTheOwner,
        RecoveryForgetsTheAttempt,
        FreeingWakesNobody,
        WakeWaitingWakesNobody,
        BeginIgnoresTheFence,
        TakeOverIgnoresTheBeat,
        CheckInRevivesTheDead,
        CheckInForgetsOwnedRows,
        OrphansOfTheLiving,
        StandbyLeavesTheGate,
        RaisedEpochIsForgotten,
        RaisingLeavesTheNodesUp,
        EnqueueIsNotIdempotent,
        DelaysGoByTheClient,
        ApplyIsNotAtomic,
        DeletionForgetsTheMark,
        CancelForgetsOwnedRows,
        ReadForgetsTheOrder,
        ReadForgetsTheNextWake,
        PruneDeletesLiveRows,
        LockRepeatsTheFence,
        LockRenewsWhatHasEnded,
    ];

    /// Faults that show only in a store whose rows can become unreadable, or whose steps consist of statements.
    pub const OF_ROWS: &'static [Self] =
        &[ClaimComparesTooEarly, AppliesOneByOne, ClaimsOneByOne, SettlesOneByOne, ReadLeavesPoisonOut];

    /// Faults that show only in a store with migrations, in transactions.
    pub const OF_MIGRATIONS: &'static [Self] = &[
        MigrationsDecideTooEarly,
        MigrationLockIsARow,
        MigrationsCommitEachStep,
        MigrationsKeepARehearsal,
        MigrationsForgetTheChecksum,
    ];

    /// The case that must reject a store with this fault.
    pub const fn caught_by(self) -> &'static str {
        match self {
            ClaimIgnoresTheRevision => "claim::an_edit_in_between_survives",
            ClaimComparesTooEarly => "held::an_edit_within_a_claim",
            ClaimIgnoresTheFiringCounter => "claim::refuses_a_stale_firing_counter",
            ClaimIgnoresTheGate => "membership::standby_is_a_point_in_time",
            ClaimIgnoresTheSlot => "slots::keeps_to_the_limit",
            ClaimMovesTheTriggerFirst => "claim::refuses_a_stale_revision",
            ClaimIgnoresTheLock => "within::an_overtaken_fence_is_refused",
            ClaimForgetsSkips => "claim::records_skips",
            ReadyClaimRepeatsTheFence => "recover::recovered_work_runs_again",
            ReadyClaimPassesOverThePlace => "ready::passes_over_nothing_behind_a_place",
            ReadyClaimIgnoresTheGate => "ready::refuses_a_closed_gate",
            SettleIgnoresTheFence => "recover::a_late_completion_after_recovery_is_fenced",
            SettleForgetsWhatItHasDone => "settle::a_repeated_end_is_already_done",
            BackKeepsTheOwner => "settle::going_back_writes_what_the_plan_says",
            RecoveryForgetsTheAttempt => "recover::a_row_is_recovered_once",
            FreeingWakesNobody => "waiting::an_end_wakes_a_trigger",
            WakeWaitingWakesNobody => "queues::a_higher_limit_wakes_a_trigger",
            BeginIgnoresTheFence => "recover::recovered_work_cannot_be_begun_by_its_old_owner",
            TakeOverIgnoresTheBeat => "membership::a_take_over_compares_the_beat",
            CheckInRevivesTheDead => "membership::a_dead_node_is_told_so",
            CheckInForgetsOwnedRows => "claim::an_unseen_claim_is_found_at_the_check_in",
            OrphansOfTheLiving => "recover::a_node_that_is_up_has_no_orphans",
            StandbyLeavesTheGate => "membership::standby_raises_the_gate",
            RaisedEpochIsForgotten => "epoch::a_token_of_a_new_epoch_is_larger_than_all_before",
            RaisingLeavesTheNodesUp => "epoch::raising_it_ends_all_nodes",
            EnqueueIsNotIdempotent => "enqueue::leaves_a_known_id_alone",
            DelaysGoByTheClient => "clock::delays_count_from_the_clock_of_the_step",
            ApplyIsNotAtomic => "definitions::applies_all_changes_or_none",
            DeletionForgetsTheMark => "definitions::a_deleted_trigger_leaves_a_mark",
            CancelForgetsOwnedRows => "commands::cancelling_marks_an_owned_row",
            ReadForgetsTheOrder => "due::comes_in_the_order_of_wake_times",
            ReadForgetsTheNextWake => "due::names_the_next_trigger",
            PruneDeletesLiveRows => "prune::live_rows_stay",
            LockRepeatsTheFence => "locks::fences_grow_over_releases",
            LockRenewsWhatHasEnded => "locks::an_ended_lease_cannot_be_renewed",
            AppliesOneByOne => "cuts::apply",
            ClaimsOneByOne => "cuts::claim",
            SettlesOneByOne => "cuts::settle_end",
            ReadLeavesPoisonOut => "poison::a_trigger_comes_in_its_place",
            MigrationsDecideTooEarly => "migration_races::a_late_comer_reads_again_under_the_lock",
            MigrationLockIsARow => "migration_races::the_lock_ends_with_its_holder",
            MigrationsCommitEachStep => "migration_cuts::a_run_that_is_cut_is_completed_by_the_next",
            MigrationsKeepARehearsal => "migrations::a_rehearsal_changes_nothing",
            MigrationsForgetTheChecksum => "migrations::a_row_of_the_history_says_what_was_run",
        }
    }
}
