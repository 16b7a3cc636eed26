-- Pages that users send each other: one row per share, and one narrow row per recipient.
--
-- A share to all friends writes as many recipients as there are friends, so a recipient's row is as small and
-- has as few indexes as reading allows. For the same reason it has no foreign keys, each of which would look
-- up and lock a row for every recipient. Nothing is lost with them: whoever sends holds a lock on their own
-- account until the share is written, and whoever deletes an account first takes the locks of all its friends.
create table shares (
    -- Version 7, from the same clock as sent_at: by id is by time.
    event_id uuid constraint shares_pkey primary key,
    sender_id text collate "C" not null references users (user_id) on delete cascade,
    sent_at timestamptz not null,
    url text not null,
    title text not null,
    -- The addressee of a personal share; null: it went to all friends.
    sent_to text collate "C" references users (user_id) on delete cascade,
    -- Recipients who have not read it. Kept, because counting them for a page of shares to a thousand friends
    -- each would read thousands of rows.
    not_seen_count integer not null,
    -- What the client calls this share, so that sending it again does nothing. Forgotten after a day.
    idempotency_key text,
    constraint shares_not_seen_natural check (not_seen_count >= 0)
);

create index shares_sent on shares (sender_id, event_id);

create unique index shares_idempotency on shares (sender_id, idempotency_key) where idempotency_key is not null;

-- For the account of an addressee that is deleted.
create index shares_sent_to on shares (sent_to) where sent_to is not null;

create table share_recipients (
    event_id uuid not null,
    user_id text collate "C" not null,
    -- Null until read.
    seen_at timestamptz,
    -- In this order new rows lie side by side at the index's end.
    constraint share_recipients_pkey primary key (event_id, user_id)
);

-- Each row is in exactly one of these, and each list of the API is one of them from its newest end.
create index share_recipients_unread on share_recipients (user_id, event_id) where seen_at is null;
create index share_recipients_read on share_recipients (user_id, event_id) where seen_at is not null;
