-- What the consistency check mended. Older binaries may go on reading and writing: they know nothing of it.
-- min-reader: 1
-- min-writer: 1

-- step: repair
-- One row a repair. `rule` is a word of punctual-core's check/rule.rs.
CREATE TABLE repair (
  at_us  INTEGER NOT NULL,
  rule   TEXT    NOT NULL,
  place  TEXT    NOT NULL,
  detail TEXT    NOT NULL,
  who    TEXT    NOT NULL,
  PRIMARY KEY (at_us, rule, place)
) STRICT, WITHOUT ROWID
