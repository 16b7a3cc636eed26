//! While a version is rolled out, instances of the last one serve from the new schema: every statement of theirs goes on.

use devstack::{
    project,
    release::{self, LAST, Release},
};
use sqlx::PgPool;

use crate::world::{World, migrate_up_to};

#[sqlx::test(migrator = "core_api::database::MIGRATIONS")]
async fn statements_of_the_last_release_run_on_the_newest_schema(pool: PgPool) {
    let last: Release = serde_json::from_str(&std::fs::read_to_string(project::root().join(LAST)).unwrap()).unwrap();
    assert!(last.statements.len() > 50);
    // As the role that serves.
    let world = World::new(pool).await;
    let mut connection = world.serving.acquire().await.unwrap();
    let now = Release::of(&mut connection, last.statements.keys().cloned()).await.unwrap();
    for (statement, types) in &last.statements {
        assert_eq!(now.statements[statement], *types, "{statement}");
    }
    assert_eq!(last.misses(&now.columns), Vec::<String>::new());
}

/// The sixth migration gave the outbox columns that its writers had to name, and took one away that they named.
#[sqlx::test(migrations = false)]
async fn a_migration_that_breaks_the_release_before_it_is_found(pool: PgPool) {
    let statement = "insert into outbox (id, recipient, version, kind, payload) values ($1, $2, $3, $4, $5)".to_owned();
    migrate_up_to(&pool, 5).await;
    let mut connection = pool.acquire().await.unwrap();
    let before = Release::of(&mut connection, [statement.clone()]).await.unwrap();
    migrate_up_to(&pool, 6).await;
    assert!(Release::of(&mut connection, [statement]).await.is_err());
    let missed = before.misses(&release::columns(&mut connection).await.unwrap());
    let expected = ["outbox.recipients is new", "outbox.versions is new"];
    assert_eq!(missed.len(), expected.len(), "{missed:?}");
    assert!(missed.iter().zip(expected).all(|(missed, expected)| missed.starts_with(expected)), "{missed:?}");
}
