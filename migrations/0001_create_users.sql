-- Everybody who registered, one row each.
--
-- The id is the identity provider's user name: opaque text, so TEXT and not UUID, and everywhere compared by its
-- bytes: no locale of a database has a say in the order of ids, nor slows an index down. The share settings live
-- here because they change rarely and are read together with the version that the edge compares.
create table users (
    user_id text collate "C" constraint users_pkey primary key,
    -- As the identity provider has it; unique without regard to case, see below.
    email text not null,
    first_name text not null,
    last_name text not null,
    description text not null default '',
    dob date,
    gender text,
    school text,
    work text,
    location text,
    -- What others may see of the above. Nothing, until its owner says so.
    email_public boolean not null default false,
    dob_public boolean not null default false,
    gender_public boolean not null default false,
    school_public boolean not null default false,
    work_public boolean not null default false,
    location_public boolean not null default false,
    profile_image_uploaded_at timestamptz,
    profile_image_extension text,
    share_mode text not null default 'default_none',
    domain_allow_array text[] not null,
    domain_deny_array text[] not null,
    -- Grows with every change to this user's friends or share settings, in the transaction of the change.
    social_version bigint not null default 1,
    created_at timestamptz not null default now(),
    constraint users_share_mode_known check (share_mode in ('default_none', 'default_all'))
);

create unique index users_email_unique on users (lower(email));
