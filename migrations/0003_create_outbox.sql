-- Events that connected clients must hear of, written in the transaction of the change they tell and deleted
-- when the edge has taken them. So no crash loses one, and the table is nearly always empty.
create table outbox (
    -- Version 7, so ids sort by the time they were made.
    id uuid constraint outbox_pkey primary key,
    -- Deliberately no foreign key: the event that an account is gone outlives the account.
    recipient text not null,
    kind text not null,
    -- The recipient's social version after the change.
    version bigint not null,
    payload jsonb not null,
    created_at timestamptz not null default now(),
    -- Deliveries that the edge did not take.
    attempts integer not null default 0,
    next_attempt_at timestamptz not null default now()
);

create index outbox_due on outbox (next_attempt_at, id);
