//! The SQL migrations of Punctual, as text: one folder a database, the same numbers and names in each.
//!
//! This crate only carries the files, so that they are packaged with the crates that run them. The algorithm is in
//! `punctual_core::migrate`; the rules for writing a migration are in this crate's `README.md`.

/// The shape of the SQLite schema after each migration.
pub const SQLITE_SHAPES: &[&str] = &[
    include_str!("../sqlite/0001_init.schema"),
    include_str!("../sqlite/0002_queues.schema"),
    include_str!("../sqlite/0003_repairs.schema"),
    include_str!("../sqlite/0004_pauses.schema"),
    include_str!("../sqlite/0005_in_time.schema"),
    include_str!("../sqlite/0006_lookup.schema"),
];

/// The shape of the PostgreSQL schema after each migration.
pub const POSTGRES_SHAPES: &[&str] = &[
    include_str!("../postgres/0001_init.schema"),
    include_str!("../postgres/0002_queues.schema"),
    include_str!("../postgres/0003_repairs.schema"),
    include_str!("../postgres/0004_pauses.schema"),
    include_str!("../postgres/0005_in_time.schema"),
    include_str!("../postgres/0006_lookup.schema"),
];

/// The migrations of PostgreSQL, as pairs of file name and text, in order. `{s}` stands for the schema.
pub const POSTGRES: &[(&str, &str)] = &[
    ("0001_init.sql", include_str!("../postgres/0001_init.sql")),
    ("0002_queues.sql", include_str!("../postgres/0002_queues.sql")),
    ("0003_repairs.sql", include_str!("../postgres/0003_repairs.sql")),
    ("0004_pauses.sql", include_str!("../postgres/0004_pauses.sql")),
    ("0005_in_time.sql", include_str!("../postgres/0005_in_time.sql")),
    ("0006_lookup.sql", include_str!("../postgres/0006_lookup.sql")),
];

/// The migrations of SQLite, as pairs of file name and text, in order.
pub const SQLITE: &[(&str, &str)] = &[
    ("0001_init.sql", include_str!("../sqlite/0001_init.sql")),
    ("0002_queues.sql", include_str!("../sqlite/0002_queues.sql")),
    ("0003_repairs.sql", include_str!("../sqlite/0003_repairs.sql")),
    ("0004_pauses.sql", include_str!("../sqlite/0004_pauses.sql")),
    ("0005_in_time.sql", include_str!("../sqlite/0005_in_time.sql")),
    ("0006_lookup.sql", include_str!("../sqlite/0006_lookup.sql")),
];

/// The migrations of MySQL and MariaDB, as pairs of file name and text, in order.
pub const MYSQL: &[(&str, &str)] = &[
    ("0001_init.sql", include_str!("../mysql/0001_init.sql")),
    ("0002_queues.sql", include_str!("../mysql/0002_queues.sql")),
    ("0003_repairs.sql", include_str!("../mysql/0003_repairs.sql")),
    ("0004_pauses.sql", include_str!("../mysql/0004_pauses.sql")),
    ("0005_in_time.sql", include_str!("../mysql/0005_in_time.sql")),
    ("0006_lookup.sql", include_str!("../mysql/0006_lookup.sql")),
];

/// The shape of the MySQL schema after each migration; that of MariaDB comes to the same lines.
pub const MYSQL_SHAPES: &[&str] = &[
    include_str!("../mysql/0001_init.schema"),
    include_str!("../mysql/0002_queues.schema"),
    include_str!("../mysql/0003_repairs.schema"),
    include_str!("../mysql/0004_pauses.schema"),
    include_str!("../mysql/0005_in_time.schema"),
    include_str!("../mysql/0006_lookup.schema"),
];
