-- no-transaction
-- For the list of suspended users, which every instance reads every few seconds. Built while users are written; should that be
-- ended halfway, drop index users_suspended, and migrate again.
create index concurrently users_suspended on users (user_id) where suspended_at is not null;
