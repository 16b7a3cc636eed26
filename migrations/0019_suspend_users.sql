-- Suspending a user, and a record of what operators do.
--
-- Since when a user is suspended stands in their own row: the edge asks for it together with the share settings, and it goes
-- with the account. A new column that may be null is instant.
set local lock_timeout = '3s';
alter table users add column suspended_at timestamptz;

create table audit (
    id bigint generated always as identity constraint audit_pkey primary key,
    at timestamptz not null default clock_timestamp(),
    -- Who did it, as the command was told.
    operator text not null,
    action text not null,
    -- A user's id, or that of a row of the outbox. Deliberately no foreign key: what was done outlives what it was done to.
    subject text collate "C" not null,
    reason text not null
);

create index audit_of_subject on audit (subject, id);

-- Whoever serves may add lines and read them. Only the owner may change or remove one.
create function keep_audit() returns trigger language plpgsql as $$
begin
    if not pg_has_role(current_user, (select relowner from pg_class where oid = tg_relid), 'usage') then
        raise exception 'only the owner of the table may change its lines' using errcode = 'insufficient_privilege';
    end if;
    return coalesce(new, old);
end
$$;

create trigger audit_keep before update or delete on audit for each row execute function keep_audit();
