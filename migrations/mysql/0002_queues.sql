-- Long queues and claims within a lock. Older binaries may go on reading and writing: they leave `slot_limit` empty,
-- so the rows of their jobs are woken by whoever frees a slot, and not by the search for those who were missed.
-- min-reader: 1
-- min-writer: 1

-- step: job_slot_limit
-- How many the concurrency key of `spec` allows at once.
ALTER TABLE punctual_job ADD COLUMN slot_limit BIGINT
-- probe:
SELECT COUNT(*) FROM information_schema.columns
WHERE table_schema = DATABASE() AND table_name = 'punctual_job' AND column_name = 'slot_limit'

-- step: job_slot_limit_rows
UPDATE punctual_job SET slot_limit = JSON_EXTRACT(spec, '$.concurrency.limit') WHERE slot_key IS NOT NULL
-- probe:
SELECT NOT EXISTS (SELECT 1 FROM punctual_job WHERE slot_key IS NOT NULL AND slot_limit IS NULL)

-- step: lock_guard
-- The highest fence that a claim within each lock came with; smaller ones are refused.
CREATE TABLE punctual_lock_guard (
  name  VARBINARY(200) NOT NULL PRIMARY KEY,
  fence BIGINT NOT NULL
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin
-- probe:
SELECT COUNT(*) FROM information_schema.tables
WHERE table_schema = DATABASE() AND table_name = 'punctual_lock_guard'
