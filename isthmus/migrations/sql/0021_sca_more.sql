-- Payments that nobody was asked for: by which rule, and those since the person was last asked, which are counted.
alter table payments add column exempted_by text, add column exempted_under text
--;
create table unproven_payments (
    payment_id uuid primary key,
    owner uuid not null,
    asset text not null,
    amount numeric(78, 18) not null
)
--;
create index unproven_payments_owner on unproven_payments (owner)
--;
-- A key works once its challenge is passed; those from before were not asked for.
alter table api_keys add column challenge_id uuid, add column confirmed boolean not null default true
--;
-- Limits that people set themselves, by asset; and what they ask to raise them to, until its challenge is passed.
create table personal_limits (
    id uuid primary key,
    owner uuid not null,
    asset text not null,
    per_payment numeric(78, 18),
    per_day numeric(78, 18),
    asked_per_payment numeric(78, 18),
    asked_per_day numeric(78, 18),
    challenge_id uuid,
    unique (owner, asset)
)
--;
alter table sca_challenges drop constraint sca_challenges_method_check,
    add constraint sca_challenges_method_check check (method in ('ONE_TIME_CODE', 'DEVICE', 'TOTP', 'REDIRECT', 'DECOUPLED'))
--;
-- Authenticator apps; `secret` is sealed. What happened to one stays in its events.
create table sca_apps (
    id uuid primary key,
    owner uuid not null,
    secret text not null,
    state text not null check (state in ('REQUESTED', 'ENROLLED', 'REMOVED')),
    challenge_id uuid not null,
    enrol_until timestamptz not null,
    enrolled_at timestamptz,
    used_at timestamptz,
    stored_at timestamptz not null default now()
)
--;
create index sca_apps_owner on sca_apps (owner)
--;
-- Payments that have a challenge in common.
alter table payments add column batch_id uuid, add column batch_line int not null default 0
--;
create index payments_batch on payments (batch_id) where batch_id is not null
--;
create index payments_challenge on payments (challenge_id)
