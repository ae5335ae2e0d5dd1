-- A trigger is found by what does not change when it fires in a table of its own.
--
-- When a trigger fires, its time to wake changes, which an index holds; so Postgres puts an entry for the new version of the
-- row into every index of the table. Now the table has only those that firing needs. The database keeps the other table
-- itself, so older binaries may go on writing; reading, they go through all triggers where they used one of the indexes.
-- min-reader: 1
-- min-writer: 1

-- step: definitions_locked
-- All that this needs, at once and in the order in which nodes do: whoever raises a lock later may wait for somebody who
-- waits for him.
LOCK TABLE {s}.trigger, {s}.job IN ACCESS EXCLUSIVE MODE

-- step: trigger_lookup
-- Written only by place_trigger.
CREATE TABLE {s}.trigger_lookup (
  id         bigint NOT NULL PRIMARY KEY,
  group_name text   COLLATE "C" NOT NULL,
  name       text   COLLATE "C" NOT NULL,
  job_id     bigint NOT NULL REFERENCES {s}.job (id),
  set_name   text   COLLATE "C",
  calendar   text   COLLATE "C"
)

-- step: place_trigger
CREATE FUNCTION {s}.place_trigger() RETURNS trigger LANGUAGE plpgsql AS $body$
BEGIN
  IF tg_op = 'DELETE' THEN
    DELETE FROM {s}.trigger_lookup WHERE id = old.id;
  ELSIF tg_op = 'INSERT' THEN
    INSERT INTO {s}.trigger_lookup (id, group_name, name, job_id, set_name, calendar)
    VALUES (new.id, new.group_name, new.name, new.job_id, new.set_name, new.calendar);
  ELSIF (new.id, new.group_name, new.name, new.job_id, new.set_name, new.calendar)
    IS DISTINCT FROM (old.id, old.group_name, old.name, old.job_id, old.set_name, old.calendar) THEN
    UPDATE {s}.trigger_lookup SET id = new.id, group_name = new.group_name, name = new.name, job_id = new.job_id,
      set_name = new.set_name, calendar = new.calendar
    WHERE id = old.id;
  END IF;
  RETURN NULL;
END
$body$

-- step: trigger_placed
CREATE TRIGGER trigger_placed
AFTER INSERT OR DELETE OR UPDATE OF id, group_name, name, job_id, set_name, calendar ON {s}.trigger
FOR EACH ROW EXECUTE FUNCTION {s}.place_trigger()

-- step: trigger_lookup_rows
INSERT INTO {s}.trigger_lookup (id, group_name, name, job_id, set_name, calendar)
SELECT id, group_name, name, job_id, set_name, calendar FROM {s}.trigger

-- step: trigger_job_reference
-- The table above refers to jobs from now on.
ALTER TABLE {s}.trigger DROP CONSTRAINT trigger_job_id_fkey

-- step: trigger_key_of_trigger
DROP INDEX {s}.trigger_key

-- step: trigger_key
CREATE UNIQUE INDEX trigger_key ON {s}.trigger_lookup (group_name, name)

-- step: trigger_job_of_trigger
DROP INDEX {s}.trigger_job

-- step: trigger_job
CREATE INDEX trigger_job ON {s}.trigger_lookup (job_id)

-- step: trigger_set_of_trigger
DROP INDEX {s}.trigger_set

-- step: trigger_set
CREATE INDEX trigger_set ON {s}.trigger_lookup (set_name) WHERE set_name IS NOT NULL

-- step: trigger_calendar_of_trigger
DROP INDEX {s}.trigger_calendar

-- step: trigger_calendar
CREATE INDEX trigger_calendar ON {s}.trigger_lookup (calendar) WHERE calendar IS NOT NULL
