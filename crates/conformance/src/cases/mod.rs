//! The cases, one group a file.

use crate::case::Case;

mod calendars;
mod claim;
mod commands;
mod definitions;
mod deletion;
mod due;
mod enqueue;
mod inspect;
mod limits;
mod locks;
mod membership;
mod protocol;
mod prune;
mod queues;
mod races;
mod ready;
mod recover;
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
    recover::CASES,
    commands::CASES,
    inspect::CASES,
    prune::CASES,
    wake::CASES,
    locks::CASES,
    protocol::CASES,
    races::CASES,
    limits::CASES,
];
