//! The cases, one group a file.

use crate::case::Case;

mod between;
mod calendars;
mod check;
mod claim;
mod clock;
mod commands;
mod crowds;
mod cuts;
mod definitions;
mod deletion;
mod due;
mod enqueue;
mod epoch;
mod held;
mod inspect;
mod limits;
mod lock_cuts;
mod locks;
mod membership;
mod migration_cuts;
mod migration_histories;
mod migration_modes;
mod migration_races;
mod migrations;
mod pauses;
mod plans;
mod poison;
mod protocol;
mod prune;
mod queues;
mod races;
mod ready;
mod recover;
mod sequences;
mod settle;
mod slots;
mod waiting;
mod wake;
mod within;

/// All groups.
pub(crate) const ALL: &[&[Case]] = &[
    definitions::CASES,
    calendars::CASES,
    deletion::CASES,
    pauses::CASES,
    enqueue::CASES,
    due::CASES,
    claim::CASES,
    ready::CASES,
    slots::CASES,
    waiting::CASES,
    queues::CASES,
    within::CASES,
    settle::CASES,
    membership::CASES,
    epoch::CASES,
    recover::CASES,
    commands::CASES,
    inspect::CASES,
    prune::CASES,
    wake::CASES,
    locks::CASES,
    poison::CASES,
    check::CASES,
    protocol::CASES,
    sequences::CASES,
    races::CASES,
    held::CASES,
    between::CASES,
    cuts::CASES,
    lock_cuts::CASES,
    clock::CASES,
    migrations::CASES,
    migration_races::CASES,
    migration_cuts::CASES,
    migration_histories::CASES,
    migration_modes::CASES,
    limits::CASES,
    crowds::CASES,
    plans::CASES,
];
