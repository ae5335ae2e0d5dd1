//! Statements of the migration engine that the other stores do not have.

/// Whether the history of migrations is there.
pub(crate) const HAS_MIGRATION: &str =
    "SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = 'migration')";

/// Writes state and end of a migration that has its row.
pub(crate) const CHANGE_MIGRATION: &str =
    "UPDATE migration SET state = ?2, finished_us = ?3 WHERE version = ?1";

/// Whether nothing is to be done about the primary key of the history: it is there, or rows stand in its way.
pub(crate) const HAS_MIGRATION_KEY: &str = "
SELECT EXISTS (SELECT 1 FROM pragma_table_info('migration') WHERE name = 'version' AND pk = 1)
  OR EXISTS (SELECT 1 FROM migration GROUP BY version HAVING count(*) > 1)";

/// Deletes a history without a key, to be made anew: a key cannot be added to a table.
pub(crate) const DROP_MIGRATION: &str = "DROP TABLE migration";

/// Tables and columns, as lines of a fingerprint. Tables of the engine itself are left out.
pub(crate) const SHAPE: &str = "
SELECT 'table ' || t.name || iif(t.strict, ' strict', '') || iif(t.wr, ' without rowid', '')
FROM pragma_table_list t WHERE t.schema = 'main' AND t.type = 'table' AND t.name NOT LIKE 'sqlite!_%' ESCAPE '!'
  AND t.name NOT LIKE 'migration%'
UNION ALL
SELECT 'column ' || t.name || '.' || c.name || ' ' || lower(c.type) || iif(c.\"notnull\", ' not null', '')
  || iif(c.pk > 0, ' key ' || c.pk, '') || ifnull(' default ' || c.dflt_value, '')
FROM pragma_table_list t JOIN pragma_table_xinfo(t.name) c
WHERE t.schema = 'main' AND t.type = 'table' AND t.name NOT LIKE 'sqlite!_%' ESCAPE '!' AND t.name NOT LIKE 'migration%'";

/// The texts of indexes, views and triggers.
pub(crate) const SHAPE_TEXTS: &str = "
SELECT sql FROM sqlite_schema WHERE type <> 'table' AND sql IS NOT NULL AND tbl_name NOT LIKE 'migration%'";

/// Whether there is a table of nodes.
pub(crate) const HAS_NODES: &str =
    "SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = 'node')";

/// The clock alone, for a file that has no tables yet.
pub(crate) const CLOCK: &str = concat!("SELECT ", clock!());
