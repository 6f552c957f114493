-- What the payer of a payment was told of its payee. Names and accounts are sealed.
create table payee_checks (
    payment_id uuid primary key,
    result text not null check (result in ('MATCH', 'CLOSE_MATCH', 'NO_MATCH', 'UNAVAILABLE')),
    matched_name text,
    warnings text[] not null,
    resembles_name text,
    resembles_account text
)
--;
-- The key that a person's payees are found by, sealed under their own: with that one destroyed no fingerprint says anything.
create table payee_keys (
    owner uuid primary key,
    key text not null
)
--;
-- Payees that a person saved; name and account are sealed. What happened to one stays in its events.
create table payees (
    id uuid primary key,
    owner uuid not null,
    name text not null,
    account text not null,
    fingerprint text not null,
    digest text not null,
    state text not null check (state in ('REQUESTED', 'SAVED', 'REMOVED')),
    challenge_id uuid not null,
    saved_at timestamptz,
    stored_at timestamptz not null default now()
)
--;
create index payees_owner on payees (owner)
--;
create index payees_fingerprint on payees (owner, fingerprint)
--;
-- Those that are trusted: saved, and by a challenge that was passed for just this. An erased person's key row is gone; one who came back
-- has a younger one, under which nothing of before may live again.
create view saved_payees as
select p.id, p.owner, p.name, p.account, p.fingerprint, c.digest from payees p
join sca_challenges c on c.id = p.challenge_id and c.subject_id = p.id and c.owner = p.owner and c.purpose = 'PAYEE' and c.state = 'PASSED'
where p.state = 'SAVED' and exists (select from person_keys k where k.person_id = p.owner and k.created_at <= p.stored_at)
