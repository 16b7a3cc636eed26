//! Simultaneous changes, many times over. Whatever their order is, the end is one of the allowed ones.

use axum::{
    body::Body,
    http::{Method, Request},
};
use futures_util::{FutureExt, future::join_all};
use serde_json::{Value, json};
use sqlx::PgPool;

use crate::world::{Reply, World, token};

const ROUNDS: usize = 20;

async fn at_once(world: &World, one: (&str, &str, Value), other: (&str, &str, Value)) -> (Reply, Reply) {
    let call = |(user_id, path, body): (&str, &str, Value)| {
        let (user_id, path) = (user_id.to_owned(), path.to_owned());
        async move { world.call(&user_id, Method::POST, &path, Some(body)).await }
    };
    tokio::join!(call(one), call(other))
}

async fn count(world: &World, what: &'static str) -> i64 {
    sqlx::query_scalar(what).fetch_one(&world.pool).await.unwrap()
}

async fn start_over(world: &World) {
    for what in ["delete from friendships", "delete from outbox", "update users set requests_counted = 0"] {
        sqlx::query(what).execute(&world.pool).await.unwrap();
    }
}

#[sqlx::test(migrator = "core_api::database::MIGRATIONS")]
async fn opposite_requests_at_once_become_one_friendship(pool: PgPool) {
    let world = World::new(pool).await;
    world.register(&["alice", "bob"]).await;
    for _ in 0..ROUNDS {
        let path = "/friendship/requests";
        let (one, other) =
            at_once(&world, ("alice", path, json!({"user_id2": "bob"})), ("bob", path, json!({"user_id2": "alice"})))
                .await;
        one.is_success();
        other.is_success();
        assert_eq!(count(&world, "select count(*) from friendships").await, 1);
        assert_eq!(count(&world, "select count(*) from friendships where accepted_at >= requested_at").await, 1);
        assert_eq!(count(&world, "select count(*) from outbox where kind = 'friend.accepted'").await, 2);
        start_over(&world).await;
    }
}

#[sqlx::test(migrator = "core_api::database::MIGRATIONS")]
async fn accepting_twice_at_once_tells_each_once(pool: PgPool) {
    let world = World::new(pool).await;
    world.register(&["alice", "bob"]).await;
    for _ in 0..ROUNDS {
        world.post("alice", "/friendship/requests", json!({"user_id2": "bob"})).await.is_success();
        let accept = || ("bob", "/friendship/accept", json!({"user_id1": "alice"}));
        let (one, other) = at_once(&world, accept(), accept()).await;
        one.is_success();
        other.is_success();
        assert_eq!(count(&world, "select count(*) from outbox where kind = 'friend.accepted'").await, 2);
        start_over(&world).await;
    }
}

#[sqlx::test(migrator = "core_api::database::MIGRATIONS")]
async fn accepting_and_taking_back_at_once_leaves_nothing_half_done(pool: PgPool) {
    let world = World::new(pool).await;
    world.register(&["alice", "bob"]).await;
    for _ in 0..ROUNDS {
        world.post("alice", "/friendship/requests", json!({"user_id2": "bob"})).await.is_success();
        let pair = json!({"user_id1": "alice", "user_id2": "bob"});
        let accept = ("bob", "/friendship/accept", json!({"user_id1": "alice"}));
        let (accepted, ended) = at_once(&world, accept, ("alice", "/friendship/delete", pair)).await;
        ended.is_success();
        assert_eq!(count(&world, "select count(*) from friendships").await, 0);
        // Either the request was accepted first and the friendship then ended, and both heard of both changes. Or the request was
        // gone already.
        let about_friends = "select count(*) from outbox where kind in ('friend.accepted', 'friend.removed')";
        let told = count(&world, about_friends).await;
        assert!(matches!((accepted.status, told), (200, 4) | (404, 0)), "{} {told}", accepted.status);
        start_over(&world).await;
    }
}

#[sqlx::test(migrator = "core_api::database::MIGRATIONS")]
async fn the_last_place_for_a_friend_is_given_once(pool: PgPool) {
    let world = World::with(pool, &["--friends-max", "1"]).await;
    world.register(&["alice", "bob", "carol"]).await;
    for _ in 0..ROUNDS {
        for asker in ["bob", "carol"] {
            world.post(asker, "/friendship/requests", json!({"user_id2": "alice"})).await.is_success();
        }
        let accept = |asker: &str| ("alice", "/friendship/accept", json!({"user_id1": asker}));
        let (one, other) = at_once(&world, accept("bob"), accept("carol")).await;
        let mut statuses = [one.status, other.status];
        statuses.sort_unstable();
        assert_eq!(statuses, [200, 409]);
        assert_eq!(count(&world, "select count(*) from friends where user_id = 'alice'").await, 1);
        start_over(&world).await;
    }
}

#[sqlx::test(migrator = "core_api::database::MIGRATIONS")]
async fn registering_twice_at_once_makes_one_account(pool: PgPool) {
    let world = World::new(pool).await;
    let register = || ("alice", "/users/me", json!({"first_name": "Alice", "last_name": "Tester"}));
    let (one, other) = at_once(&world, register(), register()).await;
    let mut statuses = [one.status, other.status];
    statuses.sort_unstable();
    assert_eq!(statuses, [201, 409]);
}

#[sqlx::test(migrator = "core_api::database::MIGRATIONS")]
async fn the_last_ten_places_of_a_thousand_go_to_ten_of_fifty(pool: PgPool) {
    let world = World::new(pool).await;
    world.register(&["hub"]).await;
    sqlx::query(
        "with friend as (
            insert into users (user_id, email, first_name, last_name, domain_allow_array, domain_deny_array)
            select 'u' || n, n || '@example.com', 'Friend', n::text, '{}', '{}' from generate_series(1, 1040) n
            returning user_id, last_name::int as n
        )
        insert into friendships (user_id1, user_id2, accepted_at)
        select user_id, 'hub', case when n <= 990 then now() end from friend",
    )
    .execute(&world.pool)
    .await
    .unwrap();
    let accepts = (991..=1_040).map(|n| {
        let world = &world;
        async move { world.post("hub", "/friendship/accept", json!({"user_id1": format!("u{n}")})).await.status }
    });
    let statuses = join_all(accepts).await;
    let accepted = statuses.iter().filter(|status| **status == 200).count();
    let refused = statuses.iter().filter(|status| **status == 409).count();
    assert_eq!((accepted, refused), (10, 40));
    assert_eq!(count(&world, "select count(*) from friends where user_id = 'hub'").await, 1_000);
    assert_eq!(count(&world, "select count(*) from outbox where kind = 'friend.accepted'").await, 20);
}

#[sqlx::test(migrator = "core_api::database::MIGRATIONS")]
async fn fifty_shares_with_one_key_at_once_are_one(pool: PgPool) {
    let world = World::new(pool).await;
    world.register(&["alice", "bob", "carol"]).await;
    world.befriend("alice", "bob").await;
    world.befriend("alice", "carol").await;
    for round in 0..5 {
        world.forget_events().await;
        let body = json!({"url": "https://example.com/", "title": "Once"}).to_string();
        let shares = (0..50).map(|_| {
            let request = Request::post("/notifications/share")
                .header("authorization", token("alice"))
                .header("idempotency-key", format!("round {round}"));
            world.send(request.body(Body::from(body.clone())).unwrap())
        });
        let replies = join_all(shares).await;
        assert!(replies.iter().all(|reply| reply.status == 200 && reply.body == replies[0].body));
        assert_eq!(count(&world, "select count(*) from shares").await, round + 1);
        assert_eq!(count(&world, "select count(*) from share_recipients").await, 2 * (round + 1));
        assert_eq!(world.told().await, ["bob share.received 0", "carol share.received 0"]);
    }
}

#[sqlx::test(migrator = "core_api::database::MIGRATIONS")]
async fn shares_at_once_stay_within_the_hours_bound(pool: PgPool) {
    let world = World::with(pool, &["--shares-per-hour-max", "5"]).await;
    world.register(&["alice"]).await;
    let shares = (0..20).map(|n| {
        let world = &world;
        let body = json!({"url": format!("https://example.com/{n}"), "title": ""});
        async move { world.post("alice", "/notifications/share", body).await.status }
    });
    let statuses = join_all(shares).await;
    assert_eq!(statuses.iter().filter(|status| **status == 200).count(), 5);
    assert_eq!(statuses.iter().filter(|status| **status == 429).count(), 15);
}

#[sqlx::test(migrator = "core_api::database::MIGRATIONS")]
async fn reading_the_same_shares_at_once_counts_each_once(pool: PgPool) {
    let world = World::new(pool).await;
    world.register(&["alice", "bob", "carol"]).await;
    world.befriend("alice", "bob").await;
    world.befriend("alice", "carol").await;
    let mut ids = Vec::new();
    for n in 0..10 {
        let body = json!({"url": format!("https://example.com/{n}"), "title": ""});
        ids.push(json!({"event_id": world.post("alice", "/notifications/share", body).await.body}));
    }
    let reads = (0..20).map(|n| {
        let world = &world;
        // Every other caller names them in the opposite order.
        let mut ids = ids.clone();
        if n % 2 == 0 {
            ids.reverse();
        }
        async move {
            world.post(if n % 4 < 2 { "bob" } else { "carol" }, "/notifications/share/read", json!(ids)).await.status
        }
    });
    assert_eq!(join_all(reads).await, [200; 20]);
    assert_eq!(count(&world, "select count(*) from shares where not_seen_count <> 0").await, 0);
    assert_eq!(count(&world, "select count(*) from outbox where kind = 'share.read'").await, 2);
}

#[sqlx::test(migrator = "core_api::database::MIGRATIONS")]
async fn nothing_stays_of_what_others_write_to_an_account_while_it_is_deleted(pool: PgPool) {
    let world = World::with(pool, &["--shares-per-hour-max", "100000"]).await;
    let friends: Vec<String> = (0..6).map(|n| format!("friend-{n}")).collect();
    let strangers: Vec<String> = (0..6).map(|n| format!("stranger-{n}")).collect();
    for user_id in friends.iter().chain(&strangers) {
        world.register(&[user_id]).await;
    }
    for round in 0..ROUNDS {
        world.register(&["victim"]).await;
        for friend in &friends {
            world.befriend(friend, "victim").await;
        }
        for stranger in &strangers[..3] {
            world.post(stranger, "/friendship/requests", json!({"user_id2": "victim"})).await.is_success();
        }
        let page = json!({"url": "https://example.com/", "title": "t"});
        let personal = json!({"url": "https://example.com/", "title": "t", "sent_to": "victim"});
        let mut calls = Vec::new();
        for friend in &friends {
            calls.push((friend.as_str(), "/notifications/share", page.clone()));
            calls.push((friend.as_str(), "/notifications/share/personal", personal.clone()));
        }
        calls.push(("friend-0", "/friendship/delete", json!({"user_id1": "friend-0", "user_id2": "victim"})));
        for stranger in &strangers {
            calls.push((stranger.as_str(), "/friendship/requests", json!({"user_id2": "victim"})));
        }
        for stranger in &strangers[..3] {
            calls.push(("victim", "/friendship/accept", json!({"user_id1": stranger})));
        }
        calls.push(("victim", "/notifications/share", page));
        let calls = calls.into_iter().map(|(user_id, path, body)| {
            let world = &world;
            async move { world.post(user_id, path, body).await.status }
        });
        // The deletion starts after some of the calls, after another number of them in every round.
        let mut calls: Vec<_> = calls.map(FutureExt::boxed_local).collect();
        let delete = async { world.delete("victim", "/users/me").await.status };
        calls.insert(round % calls.len(), delete.boxed_local());
        let statuses = join_all(calls).await;
        assert!(statuses.iter().all(|status| *status < 500), "{statuses:?}");
        // The deletion may give up only with 503, if the friends change too fast. Here it must succeed.
        assert_eq!(statuses.iter().filter(|status| **status == 204).count(), 1, "{statuses:?}");
        let traces = "select (select count(*) from users where user_id = 'victim')
            + (select count(*) from friendships where 'victim' in (user_id1, user_id2))
            + (select count(*) from declines where 'victim' in (asker_id, decliner_id))
            + (select count(*) from share_recipients where user_id = 'victim')
            + (select count(*) from shares where sender_id = 'victim' or sent_to = 'victim')
            + (select count(*) from share_recipients r
                where not exists (select from shares s where s.event_id = r.event_id))";
        assert_eq!(count(&world, traces).await, 0, "round {round}");
        let counted_wrongly = "select count(*) from shares s where not_seen_count <> (
            select count(*) from share_recipients r where r.event_id = s.event_id and r.seen_at is null)";
        assert_eq!(count(&world, counted_wrongly).await, 0, "round {round}");
        start_over(&world).await;
        for what in ["delete from shares", "delete from share_recipients"] {
            sqlx::query(what).execute(&world.pool).await.unwrap();
        }
    }
}

#[sqlx::test(migrator = "core_api::database::MIGRATIONS")]
async fn new_names_of_friends_while_friendships_come_and_go_cause_no_deadlock(pool: PgPool) {
    let world = World::new(pool).await;
    let all = ["u1", "u2", "u3", "u4", "u5"];
    world.register(&all).await;
    for round in 0..ROUNDS {
        let mut calls = Vec::new();
        for (n, me) in all.iter().enumerate() {
            let name = format!("Name {round}");
            let update = json!({
                "first_name": name, "last_name": "", "share_mode": "default_none", "domain_allow_array": [],
                "domain_deny_array": [], "email_public": false, "gender_public": false, "school_public": false,
                "work_public": false, "location_public": false,
            });
            calls.push(world.put(me, "/users/me", update).boxed_local());
            let other = all[(n + 1 + round % 3) % all.len()];
            let pair = json!({"user_id1": me, "user_id2": other});
            let between = [
                ("/friendship/requests", json!({"user_id2": other})),
                ("/friendship/accept", json!({"user_id1": all[(n + 4 - round % 3) % all.len()]})),
                ("/friendship/delete", pair),
            ];
            let (path, body) = between[(n + round) % 3].clone();
            calls.push(world.post(me, path, body).boxed_local());
        }
        let statuses: Vec<u16> = join_all(calls).await.iter().map(|reply| reply.status).collect();
        assert!(statuses.iter().all(|status| *status < 500), "{statuses:?}");
        sqlx::query("update users set looks_changed_ms = '{}'").execute(&world.pool).await.unwrap();
        let named = format!("select count(*) from users where first_name = 'Name {round}'");
        let named: i64 = sqlx::query_scalar(sqlx::AssertSqlSafe(named)).fetch_one(&world.pool).await.unwrap();
        assert_eq!(named, all.len() as i64);
    }
}
