-- Finding users by a part of their name, or of an address they made public, in any script, under any locale of the
-- database, and at a cost that no text can raise.
--
-- Trigrams (0008) are taken from what the locale calls letters; a text that has none reads a whole index, and so does
-- one that is frequent. Here each place in a name where a text may begin is a row of an ordinary index, in the order of
-- bytes, and what begins with a text lies side by side there: a search reads as many entries as it asks for.
--
-- Nothing here rewrites or scans `users`, however many there are: what is folded is kept in a table of its own, by
-- triggers, so that instances of before this step write it too. `users` is locked for the moment that it takes to
-- create them. Rather than wait for that for long, with all calls behind, this step fails, and can be repeated. The next
-- one fills the tables.
--
-- Left for a later step, once no instance of before this one runs: the eight indexes of 0008 and the extension pg_trgm,
-- by which those instances search.
set local lock_timeout = '3s';

lock table users in access exclusive mode;

-- What texts are compared by: composed, without regard to case, in all of Unicode. Upper case last, because that is
-- where sharp and double s, the two small sigmas, and i with and without a dot meet. A text typed to search is folded by
-- the same function, for an upgrade of ICU may change what it does to rare letters. `update search_texts set
-- first_name = first_name` folds anew. Of one line, because lines stand for more than one text below.
create function folded(written text) returns text language sql immutable parallel safe
return normalize(
    upper(
        replace(
            lower(normalize(replace(written, E'\n', ' '), NFKC) collate "und-x-icu"), U&'i\0307', 'i'
        ) collate "und-x-icu"
    ),
    NFC
);

-- A name in its spellings, one a line: given name first, family name first, and that without a space where names are
-- written so. All of it folded already.
create function spellings(given text, family text) returns text language sql immutable parallel safe
return btrim(given || ' ' || family) || E'\n' || btrim(family || ' ' || given) || case
    when given <> '' and family <> '' and given || family ~
        '^[\u1100-\u11FF\u3005\u3040-\u30FF\u3130-\u318F\u3400-\u9FFF\uAC00-\uD7FF\uF900-\uFAFF\U00020000-\U0003FFFF]+$'
    then E'\n' || family || given
    else ''
end;

-- What users are found by, one row each.
create table search_texts (
    user_id text collate "C" constraint search_texts_pkey primary key references users (user_id) on delete cascade,
    -- As in `users`, from where triggers bring them.
    first_name text not null,
    last_name text not null,
    email text not null,
    email_public boolean not null,
    given text collate "C" not null generated always as (folded(first_name)) stored,
    family text collate "C" not null generated always as (folded(last_name)) stored,
    name text collate "C" not null generated always as (spellings(folded(first_name), folded(last_name))) stored,
    -- Folding may lengthen a text, and an entry of an index has an end.
    address text collate "C" not null generated always as (left(folded(email), 254)) stored
);

-- The whole of an address finds anybody.
create index search_texts_address on search_texts (address);

create table search_keys (
    -- Where in a name the key begins: at the beginning of the name or of one of its parts, which are runs of letters and
    -- digits (0); at the last character of a part (1); at the last but one (2); elsewhere (3). In an address, 4 more.
    place smallint not null,
    -- From there on, 50 characters at most.
    key text collate "C" not null,
    -- No foreign key, whose look-up would double what each of the many rows costs: triggers remove them.
    user_id text collate "C" not null,
    constraint search_keys_pkey primary key (place, key, user_id)
);

-- The keys that begin in `head`, each going on into `tail`. Folded text has no small x, which here stands for a letter or
-- digit.
create function keys_within(head text, tail text) returns table (place integer, key text)
language sql immutable parallel safe rows 12 as $$
    select case
            when i = 1 or substr(mask, i, 1) = 'x' and substr(mask, i - 1, 1) <> 'x' then 0
            when substr(mask, i, 1) = 'x' and substr(mask, i + 1, 1) <> 'x' then 1
            when substr(mask, i, 1) = 'x' and substr(mask, i + 2, 1) <> 'x' then 2
            else 3
        end,
        left(substr(whole, i), 50)
    from (
        -- Once for all places.
        select head || tail as whole, regexp_replace(head || tail collate "und-x-icu", '[[:alnum:]]', 'x', 'g') as mask
        offset 0
    ) texts, generate_series(1, least(char_length(head), 100)) i
    where substr(whole, i, 1) <> ' '
$$;

-- `address` is null where it is not public.
create function search_keys_of(given text, family text, name text, address text)
returns table (place smallint, key text) language sql immutable parallel safe rows 24 as $$
    select place::smallint, key from keys_within(given, rtrim(' ' || family))
    union
    select place::smallint, key from keys_within(family, rtrim(' ' || given))
    union
    select place::smallint, key from keys_within(family, given) where split_part(name, E'\n', 3) <> ''
    union
    select (place + 4)::smallint, key from keys_within(address, '')
$$;

-- Once for all rows of a statement, which for many is ten times as fast. Keys are removed one by one, for which there is
-- no other plan than by the index, and wherever they are, for an upgrade of ICU may also change what is a letter.
create function keep_search_keys() returns trigger language plpgsql as $$
declare
    gone record;
begin
    if tg_op <> 'INSERT' then
        for gone in
            select distinct k.place / 4 * 4 as first_place, k.key, t.user_id
            from removed t, search_keys_of(given, family, name, case when email_public then address end) k
        loop
            delete from search_keys
            where place in (gone.first_place, gone.first_place + 1, gone.first_place + 2, gone.first_place + 3)
                and key = gone.key and user_id = gone.user_id;
        end loop;
    end if;
    if tg_op <> 'DELETE' then
        insert into search_keys (place, key, user_id)
        select k.place, k.key, t.user_id
        from added t, search_keys_of(given, family, name, case when email_public then address end) k;
    end if;
    return null;
end
$$;

create trigger search_texts_add_keys after insert on search_texts
    referencing new table as added for each statement execute function keep_search_keys();
create trigger search_texts_change_keys after update on search_texts
    referencing old table as removed new table as added for each statement execute function keep_search_keys();
create trigger search_texts_remove_keys after delete on search_texts
    referencing old table as removed for each statement execute function keep_search_keys();

create function keep_search_texts() returns trigger language plpgsql as $$
begin
    insert into search_texts as kept (user_id, first_name, last_name, email, email_public)
    values (new.user_id, new.first_name, new.last_name, new.email, new.email_public)
    on conflict (user_id) do update
        set first_name = new.first_name, last_name = new.last_name, email = new.email, email_public = new.email_public
        where (kept.first_name, kept.last_name, kept.email, kept.email_public)
            is distinct from (new.first_name, new.last_name, new.email, new.email_public);
    return null;
end
$$;

create trigger users_keep_search_texts after insert or update of first_name, last_name, email, email_public on users
    for each row execute function keep_search_texts();

-- Where a text stands in a folded one: at its beginning (3), at its end (2), inside (1), or nowhere (null).
create function stands(whole text, part text) returns integer language sql immutable parallel safe
return case
    when starts_with(whole, part) then 3
    when right(whole, char_length(part)) = part then 2
    when strpos(whole, part) > 0 then 1
end;

-- A number is given to who was really inserted. The default of a column is drawn before the row is looked at, so each
-- refused registration used up one of the 2 billion that there are.
alter table users alter column number drop identity, alter column number drop not null;

create sequence users_number_given as integer owned by users.number;

select setval('users_number_given', coalesce(max(number), 0) + 1, false) from users;

create or replace function begin_circle() returns trigger language plpgsql as $$
begin
    update users set number = nextval('users_number_given') where user_id = new.user_id;
    insert into circles (user_id) values (new.user_id);
    return null;
end
$$;
