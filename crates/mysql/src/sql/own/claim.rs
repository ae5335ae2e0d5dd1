//! Claiming due triggers by plans: comparing and locking them, looking for what would fire twice, putting their live rows
//! in, and moving them on.

/// Wins a trigger for a plan, by primary key, where claims are made by conditional writes: the counters grow here. Zero
/// rows: the plan is lost.
pub(crate) const CAS_TRIGGER: &str = concat!(
    "
UPDATE punctual_trigger SET rev = rev + 1, fire_seq = fire_seq + 1
WHERE id = ? AND rev = ? AND fire_seq = ? AND state = 1 AND wake_us <= IFNULL(CAST(? AS SIGNED), ",
    clock!(),
    ")"
);

/// The generations of triggers that were won, by primary key.
pub(crate) const GENERATIONS: &str = concat!(
    "SELECT t.id, t.generation FROM ",
    numbers!(),
    " STRAIGHT_JOIN punctual_trigger t FORCE INDEX (PRIMARY) ON t.id = k.id"
);

/// The triggers of a list of plans that are active and due, locked by primary key. What somebody else has locked is being
/// changed, so a plan for it is lost either way, and there is nothing to wait for.
pub(crate) const COMPARE_TRIGGER: &str = concat!(
    "SELECT t.id, t.rev, t.fire_seq, t.generation FROM ",
    numbers!(),
    " STRAIGHT_JOIN punctual_trigger t FORCE INDEX (PRIMARY) ON t.id = k.id
 WHERE t.state = 1 AND t.wake_us <= IFNULL(CAST(? AS SIGNED), ",
    clock!(),
    ") FOR UPDATE SKIP LOCKED"
);

/// The same for one trigger whose plan has one execution, with all that a claim asks besides: the node's gate, as in
/// GATE_OPEN; the clock; and whether the history has the execution's id or its occurrence, by primary keys and
/// history_occurrence. The node is locked like the trigger, and not shared as other claims do it: that would take a
/// table of its own within the statement. Nothing is waited for, so the clock is true; zero rows do not tell what it is
/// that is not as it was, or is locked.
pub(crate) const COMPARE_ONE_TRIGGER: &str = concat!(
    "SELECT t.rev, t.fire_seq, t.generation, ",
    clock!(),
    ", EXISTS (SELECT 1 FROM punctual_history h FORCE INDEX (PRIMARY) WHERE h.id = ?)
    OR EXISTS (SELECT 1 FROM punctual_history o FORCE INDEX (history_occurrence)
      WHERE o.trigger_id = ? AND o.generation = ? AND o.scheduled_us = ?)
FROM punctual_node n FORCE INDEX (PRIMARY) STRAIGHT_JOIN punctual_trigger t FORCE INDEX (PRIMARY)
WHERE n.id = ? AND n.state = 1 AND n.standby = 0 AND n.gate = ? AND t.id = ? AND t.state = 1 AND t.wake_us
  <= IFNULL(CAST(? AS SIGNED), ",
    clock!(),
    ") FOR UPDATE SKIP LOCKED"
);

/// The clock, and how much of a list of ids with their occurrences the history has, by history's primary key and
/// history_occurrence: 0, hardly ever anything else. Live rows have unique keys, which tell by themselves. With the clock
/// this saves a claim a statement; it may only be used where nothing after it waits for a lock.
pub(crate) const FIRED_BEFORE: &str = concat!(
    "SELECT ",
    clock!(),
    ", COUNT(h.id) + COUNT(o.id) FROM JSON_TABLE(?, '$[*]' COLUMNS (id VARCHAR(32) CHARACTER SET utf8mb4 PATH '$[0]',
  trigger_id BIGINT PATH '$[1]', generation BIGINT PATH '$[2]', scheduled_us BIGINT PATH '$[3]')) k
LEFT JOIN punctual_history h FORCE INDEX (PRIMARY) ON h.id = UNHEX(k.id)
LEFT JOIN punctual_history o FORCE INDEX (history_occurrence)
  ON o.trigger_id = k.trigger_id AND o.generation = k.generation AND o.scheduled_us = k.scheduled_us"
);

/// Where a live row is put, with all its columns.
macro_rules! insert_execution {
    () => {
        "INSERT INTO punctual_execution (
  id, trigger_id, generation, trigger_key, job_id, job_key, kind, scheduled_us, priority, state, owner, fence,
  attempt, losses, wake_us, slot_key, slot_limit, spec, payload_codec, payload_version, payload_data, attempts,
  cancel, error, created_us, catch_up, due_us)"
    };
}

/// Inserts live rows that are not parked. A breach of the primary key or of execution_occurrence is an error.
pub(crate) const INSERT_EXECUTION: &str = concat!(
    insert_execution!(),
    "
SELECT
  UNHEX(v.id), v.trigger_id, v.generation, v.trigger_key, v.job_id, v.job_key, v.kind, v.scheduled_us, v.priority,
  v.state, v.owner, v.fence, v.attempt, v.losses, v.wake_us, v.slot_key, v.slot_limit, v.spec, v.payload_codec,
  v.payload_version, UNHEX(v.payload_data), v.attempts, v.cancel, v.error, v.created_us, v.catch_up, v.due_us
FROM JSON_TABLE(?, '$[*]' COLUMNS (
  id LONGTEXT CHARACTER SET utf8mb4 PATH '$[0]', trigger_id BIGINT PATH '$[1]', generation BIGINT PATH '$[2]',
  trigger_key LONGTEXT CHARACTER SET utf8mb4 PATH '$[3]', job_id BIGINT PATH '$[4]',
  job_key LONGTEXT CHARACTER SET utf8mb4 PATH '$[5]', kind LONGTEXT CHARACTER SET utf8mb4 PATH '$[6]',
  scheduled_us BIGINT PATH '$[7]', priority BIGINT PATH '$[8]', state BIGINT PATH '$[9]',
  owner BIGINT PATH '$[10]', fence BIGINT PATH '$[11]', attempt BIGINT PATH '$[12]', losses BIGINT PATH '$[13]',
  wake_us BIGINT PATH '$[14]', slot_key LONGTEXT CHARACTER SET utf8mb4 PATH '$[15]',
  slot_limit BIGINT PATH '$[16]', spec LONGTEXT CHARACTER SET utf8mb4 PATH '$[17]',
  payload_codec LONGTEXT CHARACTER SET utf8mb4 PATH '$[18]', payload_version BIGINT PATH '$[19]',
  payload_data LONGTEXT CHARACTER SET utf8mb4 PATH '$[20]', attempts LONGTEXT CHARACTER SET utf8mb4 PATH '$[21]',
  cancel LONGTEXT CHARACTER SET utf8mb4 PATH '$[22]', error LONGTEXT CHARACTER SET utf8mb4 PATH '$[23]',
  created_us BIGINT PATH '$[24]', catch_up LONGTEXT CHARACTER SET utf8mb4 PATH '$[25]', due_us BIGINT PATH '$[26]')) v"
);

/// The same for one row, which needs no list to be taken apart.
pub(crate) const INSERT_ONE_EXECUTION: &str = concat!(
    insert_execution!(),
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
);

/// Moves triggers on, by primary key. A row that could not be read is set aside without its last instant; the mark of its
/// key must survive.
pub(crate) const PATCH_TRIGGER: &str =
    concat!(patch_trigger!(), ", t.fire_seq = t.fire_seq + 1, t.rev = t.rev + 1");

/// The same for one trigger.
pub(crate) const PATCH_ONE_TRIGGER: &str =
    patch_one_trigger!(", t.fire_seq = t.fire_seq + 1, t.rev = t.rev + 1");

/// Moves triggers on that were won, by primary key.
pub(crate) const PATCH_WON_TRIGGER: &str = patch_trigger!();

/// The same for one trigger.
pub(crate) const PATCH_ONE_WON_TRIGGER: &str = patch_one_trigger!("");

/// Records instants that are left out, with what the triggers and their jobs say, by primary keys.
pub(crate) const RECORD_SKIP: &str = concat!(
    "INSERT INTO punctual_history (",
    history_columns!(),
    ") SELECT UNHEX(v.id), t.id, t.generation, CONCAT(t.group_name, '/', t.name), j.id,
  CONCAT(j.group_name, '/', j.name), j.kind, v.scheduled_us, v.until_us, v.instants, 5, v.reason, 0, NULL, 0, NULL, ?,
  NULL, NULL, '[]'
FROM JSON_TABLE(?, '$[*]' COLUMNS (id VARCHAR(32) CHARACTER SET utf8mb4 PATH '$[0]', trigger_id BIGINT PATH '$[1]',
  scheduled_us BIGINT PATH '$[2]', until_us BIGINT PATH '$[3]', instants BIGINT PATH '$[4]', reason BIGINT PATH '$[5]')) v
STRAIGHT_JOIN punctual_trigger t FORCE INDEX (PRIMARY) ON t.id = v.trigger_id
STRAIGHT_JOIN punctual_job j FORCE INDEX (PRIMARY) ON j.id = t.job_id"
);
