-- What a firing writes comes to lie together.
--
-- Instants of the history are found by their time first: what fires now goes to one end of the index, and not to a page of
-- its own for each trigger. And a trigger's page has room for the next version of its row, of which Postgres then writes
-- only what has changed to its log; pages that are full get room as their rows move on.
-- min-reader: 1
-- min-writer: 1

-- step: history_occurrence_by_trigger
DROP INDEX {s}.history_occurrence

-- step: history_occurrence
-- The last line of defence against firing twice.
CREATE UNIQUE INDEX history_occurrence ON {s}.history (scheduled_us, trigger_id, generation)
WHERE trigger_id IS NOT NULL

-- step: trigger_room
ALTER TABLE {s}.trigger SET (fillfactor = 50)
