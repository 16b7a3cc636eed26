-- Finding users by a part of their name or of an address they made public, without reading every row.
--
-- Trigrams, because a text may stand anywhere. Such an index tells nobody of a text before it has found everybody,
-- and a search ranks a few only. So there are four of each, for ever more users by their numbers: a frequent text
-- is found often enough in the first, and one that gets to the last is rare. A search spells these expressions and
-- bounds exactly as they stand here.
create extension if not exists pg_trgm;

create index users_name_trigrams_1 on users using gin (lower(first_name || ' ' || last_name) gin_trgm_ops)
    where number < 16384;
create index users_name_trigrams_2 on users using gin (lower(first_name || ' ' || last_name) gin_trgm_ops)
    where number >= 16384 and number < 131072;
create index users_name_trigrams_3 on users using gin (lower(first_name || ' ' || last_name) gin_trgm_ops)
    where number >= 131072 and number < 1048576;
create index users_name_trigrams_4 on users using gin (lower(first_name || ' ' || last_name) gin_trgm_ops)
    where number >= 1048576;

create index users_email_trigrams_1 on users using gin (lower(email) gin_trgm_ops)
    where email_public and number < 16384;
create index users_email_trigrams_2 on users using gin (lower(email) gin_trgm_ops)
    where email_public and number >= 16384 and number < 131072;
create index users_email_trigrams_3 on users using gin (lower(email) gin_trgm_ops)
    where email_public and number >= 131072 and number < 1048576;
create index users_email_trigrams_4 on users using gin (lower(email) gin_trgm_ops)
    where email_public and number >= 1048576;
