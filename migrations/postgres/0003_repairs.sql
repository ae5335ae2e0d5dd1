-- What the consistency check mended. Older binaries may go on reading and writing: they know nothing of it.
-- min-reader: 1
-- min-writer: 1

-- step: repair
-- One row a repair. `rule` is a word of punctual-core's check/rule.rs.
CREATE TABLE {s}.repair (
  at_us  bigint NOT NULL,
  rule   text   COLLATE "C" NOT NULL,
  place  text   COLLATE "C" NOT NULL,
  detail text   NOT NULL,
  who    text   NOT NULL,
  PRIMARY KEY (at_us, rule, place)
)
