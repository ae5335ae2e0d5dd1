//! The statements of definitions, and those that cancel work.

// ---- definitions ----

/// What is stored under a job's key or id, by job_key and the primary key: how many rows, whether there is just the one
/// that has both, and its rev. Locks what it finds.
pub(crate) const FIND_JOB: &str = "
SELECT count(*), coalesce(bool_and(id = $3 AND group_name = $1 AND name = $2), false), coalesce(max(rev), 0)
FROM (SELECT id, group_name, name, rev FROM {s}.job
  WHERE (group_name = $1 AND name = $2) OR id = $3 ORDER BY id FOR NO KEY UPDATE) f";

/// Creates or replaces a job, by its primary key. Zero rows: it was changed meanwhile.
pub(crate) const PUT_JOB: &str = "
INSERT INTO {s}.job AS j (id, group_name, name, kind, description, spec, payload_codec, payload_version, payload_data,
  priority, durable, set_name, rev, created_us, slot_key, slot_limit)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)
ON CONFLICT (id) DO UPDATE SET kind = excluded.kind, description = excluded.description, spec = excluded.spec,
  payload_codec = excluded.payload_codec, payload_version = excluded.payload_version,
  payload_data = excluded.payload_data, priority = excluded.priority, durable = excluded.durable,
  set_name = excluded.set_name, rev = excluded.rev, created_us = excluded.created_us, slot_key = excluded.slot_key,
  slot_limit = excluded.slot_limit
WHERE j.rev = excluded.rev - 1";

/// Brings the copies that triggers keep of their job up to date, by trigger_job. Not a write in the sense of `rev`: no
/// decision about the trigger has changed.
pub(crate) const SPREAD_JOB: &str = "
UPDATE {s}.trigger SET kind = $2, rank = priority + $3
WHERE id = ANY(ARRAY(SELECT l.id FROM {s}.trigger_lookup l WHERE l.job_id = $1))
  AND job_id = $1 AND (kind <> $2 OR rank <> priority + $3)";

/// As FIND_JOB, by trigger_key and the primary key.
pub(crate) const FIND_TRIGGER: &str = "
SELECT count(*), coalesce(bool_and(id = $3 AND group_name = $1 AND name = $2), false), coalesce(max(rev), 0)
FROM (SELECT id, group_name, name, rev FROM {s}.trigger
  WHERE id = ANY(ARRAY(SELECT l.id FROM {s}.trigger_lookup l WHERE l.group_name = $1 AND l.name = $2) || $3::bigint)
  ORDER BY id FOR NO KEY UPDATE) f";

/// The mark of a key, by primary key. Zero rows: there is none.
pub(crate) const FIND_MARK: &str = "SELECT last_us FROM {s}.mark WHERE group_name = $1 AND name = $2";

/// Creates or replaces a trigger, by its primary key. Locks its job shared, so that the copies of kind and priority are
/// those that SPREAD_JOB writes or finds; and its calendar, so that it is not deleted meanwhile. Zero rows: its job or
/// its calendar is not there, or the trigger was changed meanwhile.
pub(crate) const PUT_TRIGGER: &str = concat!(
    "
INSERT INTO {s}.trigger AS t (id, group_name, name, job_id, description, spec, payload_codec, payload_version,
  payload_data, priority, state, next_fire_us, wake_us, last_us, fires, fire_seq, generation, rev, slice, error,
  set_name, hash, created_us, progress, calendar, paused, kind, rank, completed_us)
SELECT $2::bigint, $3::text, $4::text, $5::bigint, $6::text, $7::text, $8::text, $9::bigint, $10::bytea, $11::bigint,
  $12::bigint, $13::bigint, $14::bigint, $15::bigint, $16::bigint, $17::bigint, $18::bigint, $19::bigint, $20::bigint,
  $21::text, $22::text, $23::bigint, $24::bigint, $25::text, $26::text, $27::text, j.kind, j.priority + $11,
  CASE WHEN $12 = 2 THEN ",
    clock!(),
    " END
FROM (SELECT kind, priority FROM {s}.job WHERE id = $5 FOR SHARE) j
WHERE $26::text IS NULL OR EXISTS (SELECT 1 FROM {s}.calendar WHERE name = $26 FOR KEY SHARE)
ON CONFLICT (id) DO UPDATE SET job_id = excluded.job_id, description = excluded.description, spec = excluded.spec,
  payload_codec = excluded.payload_codec, payload_version = excluded.payload_version,
  payload_data = excluded.payload_data, priority = excluded.priority, state = excluded.state,
  next_fire_us = excluded.next_fire_us, wake_us = excluded.wake_us, last_us = excluded.last_us, fires = excluded.fires,
  fire_seq = excluded.fire_seq, generation = excluded.generation, rev = excluded.rev, slice = excluded.slice,
  error = excluded.error, set_name = excluded.set_name, hash = excluded.hash, created_us = excluded.created_us,
  progress = excluded.progress, calendar = excluded.calendar, paused = excluded.paused,
  kind = excluded.kind, rank = excluded.rank,
  completed_us = CASE WHEN excluded.state = 2 THEN coalesce(t.completed_us, excluded.completed_us) END
WHERE t.rev = excluded.rev - 1"
);

/// Deletes a trigger of a revision, by primary key. Zero rows: it is gone or was changed.
pub(crate) const DELETE_TRIGGER: &str =
    "DELETE FROM {s}.trigger WHERE id = $1 AND rev = $2 RETURNING group_name, name, last_us";

/// Remembers the last instant of a deleted trigger, by primary key.
pub(crate) const PUT_MARK: &str = concat!(
    "
INSERT INTO {s}.mark (group_name, name, last_us, written_us) VALUES ($2, $3, $4, ",
    clock!(),
    ")
ON CONFLICT (group_name, name) DO UPDATE SET last_us = excluded.last_us, written_us = excluded.written_us"
);

/// Forgets a mark. Zero rows: there was none.
pub(crate) const DELETE_MARK: &str = "DELETE FROM {s}.mark WHERE group_name = $1 AND name = $2";

/// Writes down what live rows of a trigger inherited, by execution_occurrence.
pub(crate) const LEAVE_TRIGGER: &str = "
UPDATE {s}.execution SET spec = coalesce(spec, $2), payload_codec = coalesce(payload_codec, $3),
  payload_version = coalesce(payload_version, $4), payload_data = coalesce(payload_data, $5)
WHERE trigger_id = $1 AND (spec IS NULL OR payload_data IS NULL)";

/// The same for a job. Scans the live rows: jobs are deleted seldom, and an index more would cost each firing.
pub(crate) const LEAVE_JOB: &str = "
UPDATE {s}.execution SET spec = coalesce(spec, $2), payload_codec = coalesce(payload_codec, $3),
  payload_version = coalesce(payload_version, $4), payload_data = coalesce(payload_data, $5)
WHERE job_id = $1 AND (spec IS NULL OR payload_data IS NULL)";

/// Whether a job has live rows. Scans them, as LEAVE_JOB.
pub(crate) const LIVE_OF_JOB: &str = "SELECT EXISTS (SELECT 1 FROM {s}.execution WHERE job_id = $1)";

/// Deletes a job of a revision that no trigger refers to. Zero rows: it is gone, was changed, or is in use.
pub(crate) const DELETE_JOB: &str = "
DELETE FROM {s}.job WHERE id = $1 AND rev = $2 AND NOT EXISTS (SELECT 1 FROM {s}.trigger_lookup WHERE job_id = $1)";

/// A set's row, by primary key. Zero rows: it was never written.
pub(crate) const SET: &str =
    "SELECT name, revision, hash, written_by, rev, written_us FROM {s}.definition_set WHERE name = $1";

/// Creates or replaces a set's row, by primary key. Zero rows: it was changed meanwhile.
pub(crate) const PUT_SET: &str = concat!(
    "
INSERT INTO {s}.definition_set AS d (name, revision, hash, written_by, rev, written_us) VALUES ($2, $3, $4, $5, $6, ",
    clock!(),
    ")
ON CONFLICT (name) DO UPDATE SET revision = excluded.revision, hash = excluded.hash,
  written_by = excluded.written_by, rev = excluded.rev, written_us = excluded.written_us
WHERE d.rev = excluded.rev - 1"
);

/// The rev of a calendar, by primary key; locks it. Zero rows: there is none.
pub(crate) const FIND_CALENDAR: &str = "SELECT rev FROM {s}.calendar WHERE name = $1 FOR UPDATE";

/// Creates or replaces a calendar, by primary key. Zero rows: it was changed meanwhile.
pub(crate) const PUT_CALENDAR: &str = concat!(
    "
INSERT INTO {s}.calendar AS c (name, document, rev, updated_us) VALUES ($2, $3, $4, ",
    clock!(),
    ")
ON CONFLICT (name) DO UPDATE SET document = excluded.document, rev = excluded.rev, updated_us = excluded.updated_us
WHERE c.rev = excluded.rev - 1"
);

/// Deletes a calendar of a revision that no trigger names, by primary key and trigger_calendar; it must be locked
/// already, by FIND_CALENDAR, or a trigger that names it could slip in. Zero rows: it is gone, was changed, or is in use.
pub(crate) const DELETE_CALENDAR: &str = "
DELETE FROM {s}.calendar
WHERE name = $1 AND rev = $2 AND NOT EXISTS (SELECT 1 FROM {s}.trigger_lookup WHERE calendar = $1)";

// ---- cancel ----

/// Copies rows that nobody owns into the history as cancelled, by primary key.
pub(crate) const RECORD_CANCELLED: &str = concat!(
    "INSERT INTO {s}.history (",
    history_columns!(),
    ") SELECT id, trigger_id, generation, trigger_key, job_id, job_key, kind, scheduled_us, NULL, 1, 3, NULL, attempt,
  NULL, fence, NULL, ",
    clock!(),
    ", $3, NULL, attempts FROM {s}.execution WHERE id = ANY($2) AND owner IS NULL ON CONFLICT DO NOTHING"
);

/// Deletes rows that nobody owns, by primary key.
pub(crate) const DELETE_UNOWNED: &str =
    "DELETE FROM {s}.execution WHERE id = ANY($1) AND owner IS NULL RETURNING id";

/// Asks the owners of rows to stop them, by primary key.
pub(crate) const CANCEL_OWNED: &str =
    "UPDATE {s}.execution SET cancel = coalesce(cancel, $2) WHERE id = ANY($1) AND owner IS NOT NULL";
