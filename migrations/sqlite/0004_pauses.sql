-- Pauses of triggers and of groups of triggers. A trigger has one more state: 4 paused. Older binaries may go on reading
-- and writing: they do not fire what is paused, but what they write anew fires in spite of a pause until it is paused once
-- more; the consistency check finds it.
-- min-reader: 1
-- min-writer: 1

-- step: trigger_paused
-- The trigger's own pause, a document.
ALTER TABLE trigger ADD COLUMN paused TEXT

-- step: pause
-- The pauses of groups.
CREATE TABLE pause (
  group_name TEXT NOT NULL PRIMARY KEY,
  document   TEXT NOT NULL
) STRICT, WITHOUT ROWID
