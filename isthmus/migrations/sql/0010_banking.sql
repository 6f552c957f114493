-- Institutions as all providers together know them. `plain_name` is what is searched: transliterated, lower case.
create table institutions (
    id text primary key check (id ~ '^[a-z0-9-]{1,80}$'),
    name text not null,
    plain_name text not null,
    countries text[] not null,
    logo_url text,
    capabilities text[] not null default '{}',
    refreshed_at timestamptz not null default now()
)
--;
create table institution_providers (
    provider text not null,
    reference text not null,
    institution_id text not null references institutions,
    primary key (provider, reference)
)
--;
create index institution_providers_institution on institution_providers (institution_id)
--;
-- Where each consent stands; what it is stays in its events. Changed in the transaction of the event.
create table consents (
    id uuid primary key,
    owner uuid not null,
    institution_id text not null,
    provider text not null,
    jurisdiction text not null,
    scopes text[] not null,
    status text not null,
    expires_at timestamptz,
    warned boolean not null default false,
    parked text,
    reference_digest bytea,
    deleted boolean not null default false,
    version integer not null default 1
)
--;
create index consents_owner on consents (owner)
--;
create index consents_reference on consents (provider, reference_digest) where reference_digest is not null
--;
create index consents_ending on consents (expires_at) where status in ('AUTHORISED', 'RENEWAL_NEEDED')
--;
create function tell_of_consent() returns trigger language plpgsql set search_path = pg_catalog, pg_temp as $body$
begin
    perform pg_notify('isthmus_consents', new.owner || ' ' || new.id || ' ' || new.version);
    return new;
end
$body$
--;
create trigger tell_of_consent after insert or update on consents for each row execute function tell_of_consent()
--;
-- An authorisation under way: where the person was sent and what they are to come back with, sealed under the link's key.
create table bank_authorisations (
    consent_id uuid primary key references consents,
    sealed bytea not null,
    begun_at timestamptz not null default now()
)
--;
create table bank_accounts (
    id uuid primary key,
    owner uuid not null,
    consent_id uuid not null references consents,
    institution_id text not null,
    provider text not null,
    asset text not null,
    linked boolean not null default true
)
--;
create index bank_accounts_owner on bank_accounts (owner)
--;
create index bank_accounts_consent on bank_accounts (consent_id)
--;
-- What a bank says lies in an account. `identity` is a keyed hash of what the bank calls it, `weak_identity` one of its last digits.
create table bank_account_mirrors (
    account_id uuid primary key references bank_accounts,
    link_id uuid not null,
    reference text not null,
    identity bytea,
    weak_identity bytea,
    kind text not null,
    sealed bytea not null,
    available numeric(78, 18),
    booked numeric(78, 18),
    as_of timestamptz,
    transactions bigint not null default 0
)
--;
create index bank_account_mirrors_link on bank_account_mirrors (link_id, reference)
--;
-- `sealed`: description, counterparty and what the provider sent, under the key of the link that brought it.
create table bank_transactions (
    id uuid primary key,
    account_id uuid not null references bank_accounts,
    link_id uuid not null,
    provider text not null,
    reference text,
    was_reference text,
    amount numeric(78, 18) not null,
    asset text not null,
    status text not null check (status in ('PENDING', 'POSTED', 'VOIDED')),
    booked_at timestamptz not null,
    booked_on date,
    value_on date,
    made_on date,
    category text,
    sealed bytea not null,
    raw bytea not null
)
--;
create index bank_transactions_newest on bank_transactions (account_id, booked_at desc, id desc)
--;
create unique index bank_transactions_reference on bank_transactions (account_id, provider, reference) where reference is not null
--;
create unique index bank_transactions_was on bank_transactions (account_id, provider, was_reference) where was_reference is not null
--;
create index bank_transactions_pending on bank_transactions (account_id) where status = 'PENDING'
--;
create index bank_transactions_link on bank_transactions (link_id)
--;
create table bank_transaction_tags (
    transaction_id uuid primary key references bank_transactions on delete cascade,
    sealed text not null
)
--;
-- How far each link is read. `unattended`: when a bank was asked without its customer, the last day's times at most.
create table bank_syncs (
    consent_id uuid primary key references consents,
    cursor text,
    state text not null default 'WAITING' check (state in ('WAITING', 'RUNNING', 'DONE', 'FAILED')),
    fetched integer not null default 0,
    fault text,
    failures integer not null default 0,
    started_at timestamptz,
    finished_at timestamptz,
    synced_at timestamptz,
    unattended timestamptz[] not null default '{}',
    leased_until timestamptz
)
--;
-- Every webhook as it came, before anything was made of it. `digest`: SHA-256 of what tells one from its repetition.
create table webhooks (
    id bigint generated always as identity primary key,
    provider text not null,
    received_at timestamptz not null default now(),
    headers jsonb not null,
    sealed bytea not null,
    verified boolean not null,
    why text,
    digest bytea not null,
    state text not null check (state in ('RECEIVED', 'WAITING', 'DONE', 'REPEATED', 'PARKED', 'REFUSED'))
)
--;
create unique index webhooks_once on webhooks (provider, digest) where verified and state <> 'REPEATED'
--;
create index webhooks_waiting on webhooks (id) where state = 'WAITING'
