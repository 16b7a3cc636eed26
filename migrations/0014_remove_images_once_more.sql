-- Images to be removed once more: whoever got a URL to upload to before their image or account was removed may use it
-- for as long as it works, and nobody would remove what that leaves.
--
-- Written by a trigger, so that no way of removing forgets it, whatever version of the program it is in. Who never had
-- an image announced, or not since the last removal, has no URL that still works and is not in here already.
set local lock_timeout = '3s';
create table image_removals (
    -- Deliberately no foreign key: the account may be gone.
    user_id text collate "C" constraint image_removals_pkey primary key,
    removed_at timestamptz not null
);

create index image_removals_due on image_removals (removed_at);

create function note_image_removal() returns trigger language plpgsql as $$
begin
    insert into image_removals (user_id, removed_at) values (old.user_id, clock_timestamp())
    on conflict (user_id) do update set removed_at = excluded.removed_at;
    return null;
end
$$;

create trigger users_note_account_removal after delete on users for each row
    when (old.profile_image_extension is not null) execute function note_image_removal();

create trigger users_note_image_removal after update of profile_image_extension on users for each row
    when (old.profile_image_extension is not null and new.profile_image_extension is null)
    execute function note_image_removal();
