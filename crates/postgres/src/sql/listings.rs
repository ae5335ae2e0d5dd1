//! The statements of locks, listings and migrations.

// ---- locks ----

/// Takes a lock that nobody holds, by primary key. Zero rows: somebody holds it.
pub(crate) const ACQUIRE_LOCK: &str = concat!(
    "
INSERT INTO {s}.lock AS l (name, owner, fence, until_us) VALUES ($2, $3, 1, ",
    later!(clock!(), "$4"),
    ")
ON CONFLICT (name) DO UPDATE SET owner = excluded.owner, fence = l.fence + 1, until_us = ",
    later!(clock!(), "$4"),
    " WHERE l.until_us <= ",
    clock!(),
    " RETURNING fence, until_us"
);

/// Extends a lease that is still in force, by primary key. Zero rows: it has passed on or ended.
pub(crate) const RENEW_LOCK: &str = concat!(
    "
UPDATE {s}.lock SET until_us = ",
    later!(clock!(), "$5"),
    " WHERE name = $2 AND owner = $3 AND fence = $4 AND until_us > ",
    clock!(),
    " RETURNING until_us"
);

// ---- listings ----

/// A job by key, by job_key.
pub(crate) const JOB: &str =
    concat!("SELECT ", job_columns!("j"), " FROM {s}.job j WHERE j.group_name = $1 AND j.name = $2");

/// A job by id, by primary key.
pub(crate) const JOB_BY_ID: &str = concat!("SELECT ", job_columns!("j"), " FROM {s}.job j WHERE j.id = $1");

/// Jobs after a key and, if one is given, up to a group, by job_key.
pub(crate) const JOBS: &str = concat!(
    "SELECT ",
    job_columns!("j"),
    " FROM {s}.job j WHERE (j.group_name, j.name) > ($1, $2) AND ($3::text IS NULL OR j.group_name <= $3)
ORDER BY j.group_name, j.name LIMIT $4"
);

/// A trigger by key, by trigger_key.
pub(crate) const TRIGGER: &str =
    concat!("SELECT ", trigger_columns!(), looked_up!(), " WHERE l.group_name = $1 AND l.name = $2");

/// Triggers after a key and, if one is given, up to a group, by trigger_key.
pub(crate) const TRIGGERS: &str = concat!(
    "SELECT ",
    trigger_columns!(),
    looked_up!(),
    " WHERE (l.group_name, l.name) > ($1, $2) AND ($3::text IS NULL OR l.group_name <= $3)
ORDER BY l.group_name, l.name LIMIT $4"
);

/// Triggers of a job, by trigger_job.
pub(crate) const TRIGGERS_OF: &str = concat!(
    "SELECT ",
    trigger_columns!(),
    looked_up!(),
    " WHERE l.job_id = $1 ORDER BY l.group_name, l.name"
);

/// A calendar, by primary key.
pub(crate) const CALENDAR: &str = "SELECT name, document, rev, updated_us FROM {s}.calendar WHERE name = $1";

/// All calendars by name, by primary key.
pub(crate) const CALENDARS: &str =
    "SELECT name, document, rev, updated_us FROM {s}.calendar ORDER BY name LIMIT $1";

/// Triggers that name a calendar, by trigger_calendar.
pub(crate) const TRIGGERS_USING: &str = concat!(
    "SELECT ",
    trigger_columns!(),
    looked_up!(),
    " WHERE l.calendar = $1 ORDER BY l.group_name, l.name"
);

/// A live row, by primary key.
pub(crate) const EXECUTION: &str =
    concat!("SELECT ", execution_columns!(), " FROM {s}.execution e WHERE e.id = $1");

/// Live rows after an id that fit a filter, by primary key.
pub(crate) const EXECUTIONS: &str = concat!(
    "SELECT ",
    execution_columns!(),
    " FROM {s}.execution e WHERE e.id > $1 AND ($2::bigint IS NULL OR e.job_id = $2) AND ($3::bigint IS NULL OR e.state = $3)
AND ($4::bigint IS NULL OR e.owner = $4) ORDER BY e.id LIMIT $5"
);

/// A history record, by primary key.
pub(crate) const RECORD: &str = concat!("SELECT ", history_columns!(), " FROM {s}.history WHERE id = $1");

/// History before an id that fits a filter, by primary key.
pub(crate) const HISTORY: &str =
    concat!("SELECT ", history_columns!(), " FROM {s}.history WHERE id < $1 ORDER BY id DESC LIMIT $2");

/// The same of one trigger, by history_trigger, and of one job, if that is asked for too.
pub(crate) const HISTORY_OF_TRIGGER: &str = concat!(
    "SELECT ",
    history_columns!(),
    " FROM {s}.history WHERE trigger_key = $3 AND id < $1 AND ($4::text IS NULL OR job_key = $4)
ORDER BY id DESC LIMIT $2"
);

/// The same of one job, by history_job.
pub(crate) const HISTORY_OF_JOB: &str = concat!(
    "SELECT ",
    history_columns!(),
    " FROM {s}.history WHERE job_key = $3 AND id < $1 ORDER BY id DESC LIMIT $2"
);

/// All nodes that are remembered.
pub(crate) const NODES: &str = concat!(
    "SELECT ",
    node_columns!(),
    " FROM {s}.node n LEFT JOIN {s}.beat b ON b.node_id = n.id ORDER BY n.joined_us, n.id"
);

/// Jobs of a set, by job_set.
pub(crate) const JOBS_OF_SET: &str = concat!(
    "SELECT ",
    job_columns!("j"),
    " FROM {s}.job j WHERE j.set_name = $1 ORDER BY j.group_name, j.name"
);

/// Triggers of a set, by trigger_set.
pub(crate) const TRIGGERS_OF_SET: &str = concat!(
    "SELECT ",
    trigger_columns!(),
    looked_up!(),
    " WHERE l.set_name = $1 ORDER BY l.group_name, l.name"
);
