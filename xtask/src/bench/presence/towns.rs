//! The users of a measurement. They are written directly into the database, and get tokens from the provider.

use std::path::PathBuf;

use anyhow::{Context as _, Result};
use devstack::{
    project,
    step::say,
    token::{self, TokenRequest},
};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use loadgen::{Citizen, Group, Town};
use sqlx::{Connection as _, PgConnection};

use crate::bench::stage::Stage;

/// A town with one group for each of these sizes: `changers` users who turn pages, and as many friends of each of them who look
/// on as the size says.
pub fn onlookers(sizes: &[usize], changers: usize) -> Town {
    let mut town = Town::default();
    for size in sizes {
        let first = town.people.len();
        let group = Group {
            changers: (first..first + changers).collect(),
            audience: (first + changers..first + changers + size).collect(),
        };
        for _ in &group.changers {
            town.people.push(nobody(group.audience.clone()));
        }
        for _ in &group.audience {
            town.people.push(nobody(group.changers.clone()));
        }
        town.groups.push(group);
    }
    town
}

/// A town of users in a circle. Each is a friend of the nearest users on both sides.
pub fn circle(people: usize, friends: usize) -> Town {
    let reach = (friends / 2).min(people.saturating_sub(1) / 2);
    let of =
        |place: usize| (1..=reach).flat_map(move |step| [(place + step) % people, (place + people - step) % people]);
    Town { people: (0..people).map(|place| nobody(of(place).collect())).collect(), groups: Vec::new() }
}

fn nobody(friends: Vec<usize>) -> Citizen {
    Citizen { id: String::new(), token: String::new(), friends }
}

/// Gives every user an id, replaces all users in the database by them and their friendships, gets their tokens, and writes the
/// town to a file for the loadgen.
pub async fn settle(mut town: Town, stage: &Stage) -> Result<PathBuf> {
    const SIGNING_IN_AT_ONCE: usize = 8;
    /// Longer than any run.
    const LIFE_S: i64 = 7 * 86_400;
    for (place, citizen) in town.people.iter_mut().enumerate() {
        citizen.id = format!("citizen-{place:05}");
    }
    let ids: Vec<String> = town.people.iter().map(|citizen| citizen.id.clone()).collect();
    let mut pairs = (Vec::new(), Vec::new());
    for (place, citizen) in town.people.iter().enumerate() {
        // Both friends name the friendship, and it is written once.
        for friend in citizen.friends.iter().filter(|friend| place < **friend) {
            pairs.0.push(citizen.id.clone());
            pairs.1.push(ids.get(*friend).context("a friend who is nobody")?.clone());
        }
    }
    say(&format!("  {} users with {} friendships", ids.len(), pairs.0.len()));
    let mut connection = PgConnection::connect(&stage.info().database_url).await?;
    sqlx::raw_sql("truncate users, search_keys cascade").execute(&mut connection).await?;
    sqlx::query(
        "insert into users (user_id, email, first_name, last_name, domain_allow_array, domain_deny_array)
         select id, id || '@example.com', 'Maria', 'Garcia', '{example.com}', '{}' from unnest($1::text[]) id",
    )
    .bind(&ids)
    .execute(&mut connection)
    .await?;
    sqlx::query(
        "insert into friendships (user_id1, user_id2, accepted_at)
         select id1, id2, now() from unnest($1::text[], $2::text[]) pair (id1, id2)",
    )
    .bind(&pairs.0)
    .bind(&pairs.1)
    .execute(&mut connection)
    .await?;
    sqlx::raw_sql("vacuum analyze users, friendships").execute(&mut connection).await?;
    connection.close().await?;
    let mint = |id: String| async move {
        let request = TokenRequest { expires_in_s: LIFE_S, ..TokenRequest::new(id) };
        token::mint(stage.info(), &request).await
    };
    let tokens: Vec<String> = stream::iter(ids).map(mint).buffered(SIGNING_IN_AT_ONCE).try_collect().await?;
    for (citizen, token) in town.people.iter_mut().zip(tokens) {
        citizen.token = token;
    }
    let path = stage.file("town.json");
    project::write_private(&path, &serde_json::to_string(&town)?)?;
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn friendship_is_mutual() {
        for town in [onlookers(&[3, 5], 2), circle(30, 6), circle(4, 20)] {
            for (place, citizen) in town.people.iter().enumerate() {
                assert!(citizen.friends.iter().all(|friend| town.people[*friend].friends.contains(&place)));
                assert!(!citizen.friends.contains(&place));
            }
        }
        assert!(circle(30, 6).people.iter().all(|citizen| citizen.friends.len() == 6));
    }
}
