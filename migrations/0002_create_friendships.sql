-- Who is whose friend, and who has asked: one row per pair of users, whoever asked.
--
-- The database holds the two rules that a race could break, one row per pair and nobody their own friend;
-- everything else is decided under row locks on both users.
create table friendships (
    -- Who asked.
    user_id1 text collate "C" not null references users (user_id) on delete cascade,
    user_id2 text collate "C" not null references users (user_id) on delete cascade,
    requested_at timestamptz not null default now(),
    -- Null while pending.
    accepted_at timestamptz,
    constraint friendships_pkey primary key (user_id1, user_id2) include (accepted_at),
    constraint friendships_of_two check (user_id1 <> user_id2)
);

create unique index friendships_one_per_pair
    on friendships (least(user_id1, user_id2), greatest(user_id1, user_id2));

-- The primary key finds friends from the side of who asked; this finds them from the other.
create index friendships_from_asked on friendships (user_id2, user_id1) include (accepted_at);

-- Requests waiting for somebody, newest first.
create index friendships_pending on friendships (user_id2, requested_at desc) where accepted_at is null;

-- Accepted friendships from both sides, so that no query spells out the two directions again.
create view friends as
    select user_id1 as user_id, user_id2 as friend_id from friendships where accepted_at is not null
    union all
    select user_id2, user_id1 from friendships where accepted_at is not null;
