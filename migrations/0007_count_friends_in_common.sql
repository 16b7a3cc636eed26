-- Counting whom two users have in common, for which a search asks about each user it finds, and finding the first
-- friends of somebody by name.
--
-- From the rows of friendships, the one is reading all friends of both and the other looking up the whole account
-- of every friend. Here the one is the intersection of two sorted arrays, and the other reads an index that holds
-- names by number, in the order of the array. The arrays repeat what friendships says, and so triggers keep them:
-- no writer can forget to.
create extension if not exists intarray;

-- Stands for the user in the arrays: a fifth of the size of an id.
alter table users add column number integer generated always as identity;

create unique index users_number on users (number) include (first_name, last_name);

create table circles (
    user_id text collate "C" constraint circles_pkey primary key references users (user_id) on delete cascade,
    -- The numbers of the user's friends, in order.
    friends integer[] not null default '{}'
);

insert into circles (user_id) select user_id from users order by user_id;

update circles c set friends = mine.friends
from (
    select f.user_id, sort(array_agg(other.number)) as friends
    from friends f join users other on other.user_id = f.friend_id
    group by f.user_id
) mine
where mine.user_id = c.user_id;

create function begin_circle() returns trigger language plpgsql as $$
begin
    insert into circles (user_id) values (new.user_id);
    return null;
end
$$;

create trigger users_begin_circle after insert on users for each row execute function begin_circle();

-- Both users are locked by whoever changes what is between them. An account that is deleted parts from its
-- friends first: once its own row is gone, nobody knows its number.
create function keep_circles() returns trigger language plpgsql as $$
begin
    if tg_op <> 'INSERT' and old.accepted_at is not null then
        update circles mine set friends = mine.friends - other.number
        from users other
        where (mine.user_id, other.user_id) in ((old.user_id1, old.user_id2), (old.user_id2, old.user_id1));
    end if;
    if tg_op <> 'DELETE' and new.accepted_at is not null then
        update circles mine set friends = sort(mine.friends + other.number)
        from users other
        where (mine.user_id, other.user_id) in ((new.user_id1, new.user_id2), (new.user_id2, new.user_id1));
    end if;
    return null;
end
$$;

create trigger friendships_keep_circles after insert or delete or update of accepted_at on friendships
    for each row execute function keep_circles();
