-- Versions that a new account under an id known from before cannot repeat.
--
-- Whoever deletes their account and registers again has the same id, and an event of the old account's may still wait
-- in the outbox, or a version of it in a client. Beginning with the time, in milliseconds, all of these are older than
-- the new account's first, for no account is changed more often than a thousand times a second.
alter table users alter column social_version set default (extract(epoch from now()) * 1000)::bigint;
