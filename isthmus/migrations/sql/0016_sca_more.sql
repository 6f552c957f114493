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
