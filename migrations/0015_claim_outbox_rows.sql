-- Finding what is due without passing by what has failed before.
--
-- A change that some recipient does not take comes up again and again. Those never tried have an index of their own,
-- so that however many fail, a new one is found at once. The first index stays for the version before this one.
set local lock_timeout = '3s';
create index outbox_fresh on outbox (next_attempt_at, id) where attempts = 0;
create index outbox_again on outbox (next_attempt_at, id) where attempts > 0;
