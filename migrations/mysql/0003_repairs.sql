-- What the consistency check mended. Older binaries may go on reading and writing: they know nothing of it.
-- min-reader: 1
-- min-writer: 1

-- step: repair
-- One row a repair. `rule` is a word of punctual-core's check/rule.rs.
CREATE TABLE punctual_repair (
  at_us  BIGINT NOT NULL,
  rule   VARBINARY(100) NOT NULL,
  place  VARBINARY(600) NOT NULL,
  detail LONGTEXT NOT NULL,
  who    LONGTEXT NOT NULL,
  PRIMARY KEY (at_us, rule, place)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin
-- probe:
SELECT COUNT(*) FROM information_schema.tables
WHERE table_schema = DATABASE() AND table_name = 'punctual_repair'
