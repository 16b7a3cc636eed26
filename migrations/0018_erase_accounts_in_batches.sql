-- Deleting an account in steps, each of which has a bound.
--
-- Somebody may have got and sent any number of shares, and one statement that removes all of it holds its locks until
-- it is done, or is ended by its limit of time and never done. So the account's own row goes first, with its
-- friendships, and what is left is noted here, by whatever version of the program deletes it. What refers to the
-- account has no foreign keys any more, which would remove it all with the row, or keep it. Who writes such a row holds
-- the lock of both users, as a deletion does.
--
-- Taking foreign keys away locks both their tables for a moment. All of them are locked first, in the order in which calls
-- lock them; if that cannot be had soon, nothing has happened, and it is to be tried again.
set local lock_timeout = '3s';
lock table users, friendships, blocks, declines, shares in access exclusive mode;

create table erasures (
    id bigint generated always as identity constraint erasures_pkey primary key,
    user_id text collate "C" not null,
    -- What is newer belongs to an account registered anew under the same id.
    erased_at timestamptz not null,
    -- The newest share to or from the account. Null: there is none.
    last_event_id uuid,
    attempts integer not null default 0,
    next_attempt_at timestamptz not null
);

create index erasures_due on erasures (next_attempt_at);
create index erasures_of_user on erasures (user_id);

create function begin_erasure() returns trigger language plpgsql as $$
begin
    insert into erasures (user_id, erased_at, last_event_id, next_attempt_at)
    select old.user_id, clock_timestamp(), (
        select event_id from (
            (select event_id from shares where sender_id = old.user_id order by event_id desc limit 1)
            union all
            (select event_id from shares where sent_to = old.user_id order by event_id desc limit 1)
            union all
            (select event_id from share_recipients where user_id = old.user_id and seen_at is null
                order by event_id desc limit 1)
            union all
            (select event_id from share_recipients where user_id = old.user_id and seen_at is not null
                order by event_id desc limit 1)
        ) newest order by event_id desc limit 1
    ), clock_timestamp() + interval '10 seconds'; -- Whoever deletes it has the first turn.
    -- What the next account under this id sends is no repeat of what this one sent. Keys count for a day.
    update shares set idempotency_key = null
    where sender_id = old.user_id and idempotency_key is not null and event_id >= (
        lpad(to_hex((extract(epoch from clock_timestamp() - interval '25 hours') * 1000)::bigint), 12, '0') || repeat('0', 20)
    )::uuid;
    return null;
end
$$;

create trigger users_begin_erasure after delete on users for each row execute function begin_erasure();

-- An account registered anew begins with nothing between it and others: what was left there would be taken for its own,
-- and then removed. Nearly always there is nothing.
create function finish_relations() returns trigger language plpgsql as $$
begin
    if exists (select from erasures where user_id = new.user_id) then
        delete from friendships where user_id2 = new.user_id;
        delete from blocks where blocker_id = new.user_id;
        delete from blocks where blocked_id = new.user_id;
        delete from declines where decliner_id = new.user_id;
        delete from declines where asker_id = new.user_id;
    end if;
    return null;
end
$$;

create trigger users_finish_relations after insert on users for each row execute function finish_relations();

alter table shares drop constraint shares_sender_id_fkey, drop constraint shares_sent_to_fkey;
alter table friendships drop constraint friendships_user_id1_fkey, drop constraint friendships_user_id2_fkey;
alter table blocks drop constraint blocks_blocker_id_fkey, drop constraint blocks_blocked_id_fkey;
alter table declines drop constraint declines_asker_id_fkey, drop constraint declines_decliner_id_fkey;
