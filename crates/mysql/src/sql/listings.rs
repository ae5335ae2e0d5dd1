//! The statements of locks, listings and migrations.

// ---- locks ----

/// Takes a lock whose lease has ended, by primary key; FIND_LOCK comes before.
pub(crate) const ACQUIRE_LOCK: &str =
    "UPDATE punctual_lock SET owner = ?, fence = fence + 1, until_us = ? WHERE name = ?";

/// Extends a lease that is still in force, by primary key; FIND_LOCK comes before.
pub(crate) const RENEW_LOCK: &str =
    "UPDATE punctual_lock SET until_us = ? WHERE name = ? AND owner = ? AND fence = ?";

// RELEASE_LOCK: not needed, a release is a RENEW_LOCK to the beginning of time; the row stays for its fence.

// ---- listings ----

/// A job by key, by job_key.
pub(crate) const JOB: &str =
    concat!("SELECT ", job_columns!("j"), " FROM punctual_job j WHERE j.group_name = ? AND j.name = ?");

/// A job by id, by primary key.
pub(crate) const JOB_BY_ID: &str =
    concat!("SELECT ", job_columns!("j"), " FROM punctual_job j WHERE j.id = ?");

/// Jobs after a key and up to a group, by job_key.
pub(crate) const JOBS: &str = concat!(
    "SELECT ",
    job_columns!("j"),
    " FROM punctual_job j WHERE (j.group_name > ? OR (j.group_name = ? AND j.name > ?))
  AND (? IS NULL OR j.group_name <= ?)
ORDER BY j.group_name, j.name LIMIT ?"
);

/// A trigger by key, by trigger_key.
pub(crate) const TRIGGER: &str =
    concat!("SELECT ", trigger_columns!(), " FROM punctual_trigger t WHERE t.group_name = ? AND t.name = ?");

/// Triggers after a key and up to a group, by trigger_key.
pub(crate) const TRIGGERS: &str = concat!(
    "SELECT ",
    trigger_columns!(),
    " FROM punctual_trigger t WHERE (t.group_name > ? OR (t.group_name = ? AND t.name > ?))
  AND (? IS NULL OR t.group_name <= ?)
ORDER BY t.group_name, t.name LIMIT ?"
);

/// Triggers of a job, by trigger_job.
pub(crate) const TRIGGERS_OF: &str = concat!(
    "SELECT ",
    trigger_columns!(),
    " FROM punctual_trigger t WHERE t.job_id = ? ORDER BY t.group_name, t.name"
);

/// A calendar, by primary key.
pub(crate) const CALENDAR: &str =
    "SELECT name, document, rev, updated_us FROM punctual_calendar WHERE name = ?";

/// All calendars by name, by primary key.
pub(crate) const CALENDARS: &str =
    "SELECT name, document, rev, updated_us FROM punctual_calendar ORDER BY name LIMIT ?";

/// Triggers that name a calendar, by trigger_calendar.
pub(crate) const TRIGGERS_USING: &str = concat!(
    "SELECT ",
    trigger_columns!(),
    " FROM punctual_trigger t WHERE t.calendar = ? ORDER BY t.group_name, t.name"
);

/// A live row, by primary key.
pub(crate) const EXECUTION: &str =
    concat!("SELECT ", execution_columns!(), " FROM punctual_execution e WHERE e.id = ?");

/// Live rows after an id that fit a filter, by primary key.
pub(crate) const EXECUTIONS: &str = concat!(
    "SELECT ",
    execution_columns!(),
    " FROM punctual_execution e WHERE e.id > ? AND (? IS NULL OR e.job_id = ?) AND (? IS NULL OR e.state = ?)
AND (? IS NULL OR e.owner = ?) ORDER BY e.id LIMIT ?"
);

/// A history record, by primary key.
pub(crate) const RECORD: &str = concat!("SELECT ", history_columns!(), " FROM punctual_history WHERE id = ?");

/// History before an id that fits a filter, by primary key.
pub(crate) const HISTORY: &str =
    concat!("SELECT ", history_columns!(), " FROM punctual_history WHERE id < ? ORDER BY id DESC LIMIT ?");

/// The same of one trigger, by history_trigger, and of one job, if that is asked for too.
pub(crate) const HISTORY_OF_TRIGGER: &str = concat!(
    "SELECT ",
    history_columns!(),
    " FROM punctual_history WHERE trigger_key = ? AND id < ? AND (? IS NULL OR job_key = ?)
ORDER BY id DESC LIMIT ?"
);

/// The same of one job, by history_job.
pub(crate) const HISTORY_OF_JOB: &str = concat!(
    "SELECT ",
    history_columns!(),
    " FROM punctual_history WHERE job_key = ? AND id < ? ORDER BY id DESC LIMIT ?"
);

/// All nodes that are remembered.
pub(crate) const NODES: &str = concat!(
    "SELECT ",
    node_columns!(),
    " FROM punctual_node n LEFT JOIN punctual_beat b ON b.node_id = n.id ORDER BY n.joined_us, n.id"
);

/// Jobs of a set, by job_set.
pub(crate) const JOBS_OF_SET: &str = concat!(
    "SELECT ",
    job_columns!("j"),
    " FROM punctual_job j WHERE j.set_name = ? ORDER BY j.group_name, j.name"
);

/// Triggers of a set, by trigger_set.
pub(crate) const TRIGGERS_OF_SET: &str = concat!(
    "SELECT ",
    trigger_columns!(),
    " FROM punctual_trigger t WHERE t.set_name = ? ORDER BY t.group_name, t.name"
);
