//! Statements of the migration engine that the other stores do not have.

/// Whether the history of migrations is there.
pub(crate) const HAS_MIGRATION: &str =
    "SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = 'migration')";

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
pub(crate) const CLOCK: &str = "SELECT CAST(round(unixepoch('subsec') * 1000) AS INTEGER) * 1000";
