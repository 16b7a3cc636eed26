-- One change, many recipients: a share to a thousand friends is one row here and not a thousand.
--
-- Each recipient still has an event of their own, with an id made of the row's and the recipient's; those who
-- have taken it are removed from the row, and the last one takes the row along.
alter table outbox
    add column recipients text[],
    -- Of each recipient, in the same order: their social version after the change; 0 when it did not grow.
    add column versions bigint[];

update outbox set recipients = array[recipient], versions = array[version];

alter table outbox
    alter column recipients set not null,
    alter column versions set not null,
    drop column recipient,
    drop column version,
    add constraint outbox_versions_of_recipients check (cardinality(recipients) = cardinality(versions));
