-- The newest version of a master key wraps what is new. The foreign keys refuse that a version goes while anything is under it.
create table master_key_versions (
    master_key text not null check (master_key in ('file', 'vault')),
    version integer not null check (version > 0),
    active_since timestamptz not null default now(),
    primary key (master_key, version)
)
--;
insert into master_key_versions (master_key, version) values ('file', 1)
--;
alter table person_keys add column master_key text not null default 'file'
--;
alter table person_keys add constraint person_keys_wrapped_under
    foreign key (master_key, master_key_version) references master_key_versions not valid
--;
alter table person_keys validate constraint person_keys_wrapped_under
--;
alter table provider.keys
    add column master_key text not null default 'file',
    add column master_key_version integer not null default 1
--;
alter table provider.keys add constraint keys_wrapped_under
    foreign key (master_key, master_key_version) references master_key_versions
--;
-- What keys are derived from where the master key does not leave its vault.
create table root_secret (
    one boolean primary key default true check (one),
    wrapped bytea not null,
    master_key text not null,
    master_key_version integer not null,
    created_at timestamptz not null default now(),
    constraint root_secret_wrapped_under
        foreign key (master_key, master_key_version) references master_key_versions
)
--;
create table link_keys (
    link_id uuid primary key,
    person_id uuid not null references person_keys on delete cascade,
    wrapped_key bytea not null,
    created_at timestamptz not null default now()
)
--;
create index link_keys_person on link_keys (person_id)
--;
create table provider_tokens (
    link_id uuid primary key references link_keys on delete cascade,
    sealed bytea not null,
    version integer not null check (version > 0),
    updated_at timestamptz not null default now()
)
