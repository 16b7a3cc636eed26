-- Finding users by a part of their name or of an address they made public, without reading every row.
--
-- Trigrams, because a text may stand anywhere. A search spells these expressions exactly as they stand here.
create extension if not exists pg_trgm;

create index users_name_trigrams on users using gin (lower(first_name || ' ' || last_name) gin_trgm_ops);

create index users_email_trigrams on users using gin (lower(email) gin_trgm_ops) where email_public;
