-- Pauses of triggers and of groups of triggers. A trigger has one more state: 4 paused. Older binaries may go on reading
-- and writing: they do not fire what is paused, but what they write anew fires in spite of a pause until it is paused once
-- more; the consistency check finds it.
-- min-reader: 1
-- min-writer: 1

-- step: trigger_paused
-- The trigger's own pause, a document.
ALTER TABLE punctual_trigger ADD COLUMN paused LONGTEXT
-- probe:
SELECT COUNT(*) FROM information_schema.columns
WHERE table_schema = DATABASE() AND table_name = 'punctual_trigger' AND column_name = 'paused'

-- step: pause
-- The pauses of groups.
CREATE TABLE punctual_pause (
  group_name VARBINARY(200) NOT NULL PRIMARY KEY,
  document   LONGTEXT NOT NULL
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin
-- probe:
SELECT COUNT(*) FROM information_schema.tables
WHERE table_schema = DATABASE() AND table_name = 'punctual_pause'

-- step: pauses_guard
-- Locked by whoever pauses a group, shared by whoever writes a trigger.
INSERT INTO punctual_meta (name, value) VALUES ('pauses', 0) ON DUPLICATE KEY UPDATE value = value
-- probe:
SELECT COUNT(*) FROM punctual_meta WHERE name = 'pauses'
