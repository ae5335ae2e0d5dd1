-- What a firing writes comes to lie together: instants of the history are found by their time first, so what fires now goes
-- to one end of the index, and not to a page of its own for each trigger.
-- min-reader: 1
-- min-writer: 1

-- step: history_occurrence_in_time
-- The last line of defence against firing twice; one index takes the place of the other at once.
ALTER TABLE punctual_history DROP INDEX history_occurrence,
  ADD UNIQUE INDEX history_occurrence (scheduled_us, trigger_id, generation)
-- probe:
SELECT COUNT(*) FROM information_schema.statistics
WHERE table_schema = DATABASE() AND table_name = 'punctual_history' AND index_name = 'history_occurrence'
  AND column_name = 'scheduled_us' AND seq_in_index = 1
