//! While a version is rolled out, instances of the last one serve from the new schema. Every statement of theirs must still work.

use devstack::{
    project,
    release::{LAST, Release, Schema},
};
use sqlx::{AssertSqlSafe, Connection as _, PgPool};

use crate::world::{SERVING, World, migrate_up_to};

#[sqlx::test(migrator = "core_api::database::MIGRATIONS")]
async fn statements_of_the_last_release_run_on_the_newest_schema(pool: PgPool) {
    let last: Release = serde_json::from_str(&std::fs::read_to_string(project::root().join(LAST)).unwrap()).unwrap();
    assert!(last.statements.len() > 50);
    // The statements run as the role that serves.
    let world = World::new(pool).await;
    let mut connection = world.serving.acquire().await.unwrap();
    let now = Release::of(&mut connection, last.statements.keys().cloned()).await.unwrap();
    for (statement, types) in &last.statements {
        assert_eq!(now.statements[statement], *types, "{statement}");
    }
    assert_eq!(last.schema.misses_in(&now.schema), Vec::<String>::new());
}

/// Each of these statements can be prepared, but not carried out.
#[sqlx::test(migrator = "core_api::database::MIGRATIONS")]
async fn a_lost_unique_index_and_a_lost_right_are_found(pool: PgPool) {
    let world = World::new(pool.clone()).await;
    let mut connection = world.serving.acquire().await.unwrap();
    let upsert =
        "insert into blocks (blocker_id, blocked_id) values ($1, $2) on conflict (blocker_id, blocked_id) do nothing";
    assert!(Release::of(&mut connection, [upsert.to_owned()]).await.is_ok());
    sqlx::query("alter table blocks drop constraint blocks_pkey").execute(&pool).await.unwrap();
    let error = Release::of(&mut connection, [upsert.to_owned()]).await.unwrap_err();
    assert!(format!("{error:#}").contains("ON CONFLICT"), "{error:#}");

    let delete = "delete from outbox where id = $1";
    assert!(Release::of(&mut connection, [delete.to_owned()]).await.is_ok());
    sqlx::raw_sql(AssertSqlSafe(format!("revoke delete on outbox from {SERVING}"))).execute(&pool).await.unwrap();
    let error = Release::of(&mut connection, [delete.to_owned()]).await.unwrap_err();
    assert!(format!("{error:#}").contains("permission denied"), "{error:#}");
}

#[sqlx::test(migrator = "core_api::database::MIGRATIONS")]
async fn a_rule_that_old_code_does_not_know_is_found(pool: PgPool) {
    let mut connection = pool.acquire().await.unwrap();
    let before = Schema::of(&mut connection).await.unwrap();
    // This rule is about a new column only, so it concerns no column that old code writes.
    sqlx::raw_sql("alter table users add column nickname text; alter table users add constraint short check (length(nickname) < 9)")
        .execute(&mut *connection)
        .await
        .unwrap();
    assert_eq!(before.misses_in(&Schema::of(&mut connection).await.unwrap()), Vec::<String>::new());
    for rule in [
        "alter table users add constraint short_name check (length(first_name) < 9)",
        "alter table users add constraint one_of_a_name unique (first_name)",
        "create unique index on users (lower(last_name))",
        "create unique index on users (nickname) where last_name = ''",
        "alter table blocks add constraint known foreign key (blocked_id) references users",
    ] {
        let mut transaction = connection.begin().await.unwrap();
        sqlx::raw_sql(rule).execute(&mut *transaction).await.unwrap();
        let missed = before.misses_in(&Schema::of(&mut transaction).await.unwrap());
        transaction.rollback().await.unwrap();
        assert!(matches!(&missed[..], [one] if one.contains("has a new rule")), "{rule}: {missed:?}");
    }
}

/// The sixth migration added columns to the outbox that its writers must name, and removed one that they named.
#[sqlx::test(migrations = false)]
async fn a_migration_that_breaks_the_release_before_it_is_found(pool: PgPool) {
    let statement = "insert into outbox (id, recipient, version, kind, payload) values ($1, $2, $3, $4, $5)".to_owned();
    migrate_up_to(&pool, 5).await;
    let mut connection = pool.acquire().await.unwrap();
    let before = Release::of(&mut connection, [statement.clone()]).await.unwrap();
    migrate_up_to(&pool, 6).await;
    assert!(Release::of(&mut connection, [statement]).await.is_err());
    let missed = before.schema.misses_in(&Schema::of(&mut connection).await.unwrap());
    let expected = ["outbox.recipients is new", "outbox.versions is new"];
    assert_eq!(missed.len(), expected.len(), "{missed:?}");
    assert!(missed.iter().zip(expected).all(|(missed, expected)| missed.starts_with(expected)), "{missed:?}");
}
