-- Who wants nothing to do with whom, who has declined whom, and how much somebody asks.
--
-- A block is one row of the one who blocks, so that two who block each other can each take back their own.
create table blocks (
    blocker_id text collate "C" not null references users (user_id) on delete cascade,
    blocked_id text collate "C" not null references users (user_id) on delete cascade,
    blocked_at timestamptz not null default now(),
    constraint blocks_pkey primary key (blocker_id, blocked_id),
    constraint blocks_of_two check (blocker_id <> blocked_id)
);

-- A block hides both from each other, so every look asks from either side.
create index blocks_from_blocked on blocks (blocked_id, blocker_id);

-- Who was declined and when, so that nobody is asked again and again. A newer decline replaces the older.
create table declines (
    asker_id text collate "C" not null references users (user_id) on delete cascade,
    decliner_id text collate "C" not null references users (user_id) on delete cascade,
    declined_at timestamptz not null default now(),
    constraint declines_pkey primary key (asker_id, decliner_id)
);

create index declines_by_decliner on declines (decliner_id);

-- Requests counted by UTC day in the row that every request locks anyway: no row per request, and nothing to
-- clear away. Requests that were taken back or declined count too, and their own rows are gone by then.
alter table users
    add column requests_counted_on date not null default '1970-01-01',
    add column requests_counted integer not null default 0;

-- Both sides of every block: who does not exist for whom.
create view hidden as
    select blocker_id as user_id, blocked_id as hidden_id from blocks
    union all
    select blocked_id, blocker_id from blocks;
