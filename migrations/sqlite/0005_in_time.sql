-- What a firing writes comes to lie together: instants of the history are found by their time first, so what fires now goes
-- to one end of the index, and not to a page of its own for each trigger.
-- min-reader: 1
-- min-writer: 1

-- step: history_occurrence_by_trigger
DROP INDEX history_occurrence

-- step: history_occurrence
-- The last line of defence against firing twice.
CREATE UNIQUE INDEX history_occurrence ON history (scheduled_us, trigger_id, generation) WHERE trigger_id IS NOT NULL
