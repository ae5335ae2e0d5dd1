-- Pauses of triggers and of groups of triggers. A trigger has one more state: 4 paused. Older binaries may go on reading
-- and writing: they do not fire what is paused, but what they write anew fires in spite of a pause until it is paused once
-- more; the consistency check finds it.
-- min-reader: 1
-- min-writer: 1

-- step: trigger_paused
-- The trigger's own pause, a document.
ALTER TABLE {s}.trigger ADD COLUMN paused text

-- step: pause
-- The pauses of groups.
CREATE TABLE {s}.pause (
  group_name text COLLATE "C" NOT NULL PRIMARY KEY,
  document   text NOT NULL
)

-- step: pauses_guard
-- Locked by whoever pauses a group, shared by whoever writes a trigger.
INSERT INTO {s}.meta (name, value) VALUES ('pauses', 0)
