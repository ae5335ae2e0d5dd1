-- Long queues and claims within a lock. Older binaries may go on reading and writing: they leave `slot_limit` empty,
-- so the rows of their jobs are woken by whoever frees a slot, and not by the search for those who were missed.
-- min-reader: 1
-- min-writer: 1

-- step: job_slot_limit
-- How many the concurrency key of `spec` allows at once.
ALTER TABLE {s}.job ADD COLUMN slot_limit bigint

-- step: job_slot_limit_rows
UPDATE {s}.job SET slot_limit = (spec::json #>> '{concurrency,limit}')::bigint WHERE slot_key IS NOT NULL

-- step: lock_guard
-- The highest fence that a claim within each lock came with; smaller ones are refused.
CREATE TABLE {s}.lock_guard (
  name  text   COLLATE "C" NOT NULL PRIMARY KEY,
  fence bigint NOT NULL
)
