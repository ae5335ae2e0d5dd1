//! What opening a store does about its schema.

use std::sync::Arc;

use punctual_core::ErrorKind;
use punctual_core::migrate::{MigrateMode, MigrationState};

use crate::case::cases;
use crate::schema::{Schema, on_a_thread, versions};

cases! {
    E "migration_modes";

    /// In mode `auto` opening makes the schema.
    [Migrations]
    async fn auto_makes_the_schema(bench) {
        let schema = Schema::empty(&bench, "m").await;
        let store = schema.target.open(MigrateMode::Auto).await.expect("the store opens");
        store.now().await.expect("it works");
        let mut conn = schema.conn().await;
        assert_eq!(schema.ready(&mut conn, &schema.known).await.applied, [0_i64; 0]);
        let history = conn.history().await.expect("a read");
        assert!(history.iter().all(|row| row.state == MigrationState::Done), "{history:?}");
    }

    /// In mode `validate` opening refuses a schema that is behind, and changes nothing.
    [Migrations]
    async fn validate_changes_nothing(bench) {
        let schema = Schema::empty(&bench, "m").await;
        let error = schema.target.open(MigrateMode::Validate).await.expect_err("nothing is there");
        assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
        let mut conn = schema.conn().await;
        let before = schema.known.len() - 1;
        schema.ready(&mut conn, &schema.known[..before.max(1)]).await;
        let rows = conn.history().await.expect("a read");
        let opened = schema.target.open(MigrateMode::Validate).await;
        assert_eq!(opened.is_err(), before > 0, "the last version is missing");
        assert_eq!(conn.history().await.expect("a read"), rows);
        schema.ready(&mut conn, &schema.known).await;
        schema.target.open(MigrateMode::Validate).await.expect("nothing is missing");
    }

    /// In mode `off` opening neither makes a schema nor looks at its version.
    [Migrations]
    async fn off_does_not_look(bench) {
        let schema = Schema::empty(&bench, "m").await;
        let mut conn = schema.conn().await;
        let bare = conn.fingerprint().await.expect("a read");
        // Without tables, opening may do as it likes.
        let _ = schema.target.open(MigrateMode::Off).await;
        assert_eq!(conn.fingerprint().await.expect("a read"), bare);
        assert_eq!(conn.history().await.expect("a read"), []);
        schema.ready(&mut conn, &schema.known).await;
        schema.write(&[schema.later(schema.newest() + 1, schema.newest() + 1)]).await;
        let store = schema.target.open(MigrateMode::Off).await.expect("it does not look");
        store.now().await.expect("it works");
    }

    /// In mode `wait` opening waits until somebody else has brought the schema up to date, and does none of it.
    [Migrations]
    async fn wait_leaves_it_to_others(bench) {
        let schema = Schema::empty(&bench, "m").await;
        let target = Arc::clone(&schema.target);
        let waits = on_a_thread(async move { target.open(MigrateMode::Wait).await });
        let mut conn = schema.conn().await;
        assert_eq!(schema.ready(&mut conn, &schema.known).await.applied, versions(&schema.known));
        let store = waits.await.expect("it ends").expect("the schema is there now");
        store.now().await.expect("it works");
    }
}
