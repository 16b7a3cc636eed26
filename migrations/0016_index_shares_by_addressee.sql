-- no-transaction
-- For the newest share addressed to somebody, which the erasure of an account asks for. Built while shares are written;
-- should that be ended halfway, drop index shares_addressed, and migrate again. The index before it, shares_sent_to, goes
-- when no instance of an older version runs any more.
create index concurrently shares_addressed on shares (sent_to, event_id) where sent_to is not null;
