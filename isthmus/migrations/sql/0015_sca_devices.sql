-- Devices that sign for a person. Texts of a credential are base64url; `name` is sealed. What happened to a device stays in its events.
create table sca_devices (
    id uuid primary key,
    owner uuid not null,
    name text not null,
    state text not null check (state in ('REQUESTED', 'ENROLLED', 'REMOVED')),
    challenge_id uuid not null,
    digest text not null,
    enrol_until timestamptz not null,
    credential_id text,
    public_key text,
    counter bigint not null default 0,
    enrolled_at timestamptz,
    used_at timestamptz,
    stored_at timestamptz not null default now(),
    check (state <> 'ENROLLED' or (credential_id is not null and public_key is not null))
)
--;
create index sca_devices_owner on sca_devices (owner)
--;
create index sca_devices_credential on sca_devices (credential_id) where credential_id is not null
--;
-- Those that sign. An erased person's key row is gone; one who came back has a younger one, under which nothing of before may live again.
create view signing_devices as
select d.id, d.owner, d.credential_id from sca_devices d
where d.state = 'ENROLLED' and exists (select from person_keys p where p.person_id = d.owner and p.created_at <= d.stored_at)
