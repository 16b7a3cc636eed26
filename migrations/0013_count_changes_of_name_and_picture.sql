-- When somebody changed their name or the kind of their picture lately, in milliseconds of Unix time, the oldest first.
--
-- Every such change is told to all friends, so there may be a few in an hour and no more. In the row that the change
-- locks anyway: no row per change, and nothing to clear away.
set local lock_timeout = '3s';
alter table users add column looks_changed_ms bigint[] not null default '{}';
