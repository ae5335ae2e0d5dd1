-- Long queues and claims within a lock. Older binaries may go on reading and writing: they leave `slot_limit` empty,
-- so the rows of their jobs are woken by whoever frees a slot, and not by the search for those who were missed.
-- min-reader: 1
-- min-writer: 1

-- step: job_slot_limit
-- How many the concurrency key of `spec` allows at once.
ALTER TABLE job ADD COLUMN slot_limit INTEGER

-- step: job_slot_limit_rows
UPDATE job SET slot_limit = json_extract(spec, '$.concurrency.limit') WHERE slot_key IS NOT NULL

-- step: lock_guard
-- The highest fence that a claim within each lock came with; smaller ones are refused.
CREATE TABLE lock_guard (
  name  TEXT    NOT NULL PRIMARY KEY,
  fence INTEGER NOT NULL
) STRICT, WITHOUT ROWID
