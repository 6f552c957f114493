-- Where each payment stands, and what is sent for it; what happened to it stays in its events. Changed in the transaction of the event.
-- What is sent is held against the digest that the person answered for: a row that was tampered with is found at that moment.
create table payments (
    id uuid primary key,
    owner uuid not null,
    source text not null check (source in ('OWN', 'BANK')),
    from_account_id uuid not null,
    provider text not null,
    asset text not null,
    amount numeric(78, 18) not null check (amount > 0),
    payee_name text not null,
    payee_account text not null,
    reference text,
    digest text not null,
    challenge_id uuid not null,
    state text not null check (state in
        ('AWAITING_SCA', 'AUTHORISED', 'SUBMITTED', 'EXECUTED', 'SETTLED', 'REJECTED', 'CANCELLED', 'EXPIRED', 'FAILED')),
    provider_reference text,
    failure_code text,
    retryable boolean not null default false,
    parked text,
    version integer not null default 1,
    look_at timestamptz
)
--;
create index payments_owner on payments (owner)
--;
create index payments_reference on payments (provider, provider_reference) where provider_reference is not null
--;
create index payments_due on payments (look_at) where look_at is not null
--;
create function tell_of_payment() returns trigger language plpgsql set search_path = pg_catalog, pg_temp as $body$
begin
    perform pg_notify('isthmus_payments', new.owner || ' ' || new.id || ' ' || new.version);
    return new;
end
$body$
--;
create trigger tell_of_payment after insert or update on payments for each row execute function tell_of_payment()
--;
-- Challenges: `url` is where a bank asks its own customer, sealed.
create table sca_challenges (
    id uuid primary key,
    owner uuid not null,
    purpose text not null,
    subject_id uuid not null,
    method text not null check (method in ('ONE_TIME_CODE', 'DEVICE', 'REDIRECT', 'DECOUPLED')),
    digest text not null,
    state text not null check (state in ('PENDING', 'PASSED', 'FAILED', 'EXPIRED', 'INVALIDATED')),
    expires_at timestamptz not null,
    url text
)
--;
create index sca_challenges_subject on sca_challenges (subject_id)
--;
-- How often a person answered wrongly in a row, over all challenges.
create table sca_guards (
    owner uuid primary key,
    failures integer not null default 0,
    blocked_until timestamptz
)
