-- Differences between our book and a bank's, and money that is nobody's yet: where each stands; what happened to it stays in its events.
create table reconciliation_cases (
    id uuid primary key,
    provider text not null,
    asset text not null,
    difference text not null check (difference in ('MISSING', 'EXTRA', 'DIFFERING', 'UNASSIGNED')),
    why text,
    journal_id uuid,
    entry_id text,
    ours numeric(78, 18),
    theirs numeric(78, 18),
    booked_at timestamptz not null,
    opened_at timestamptz not null,
    closed_at timestamptz,
    closed_by text check (closed_by in ('RUN', 'OPERATOR')),
    reason text check (reason is null or reason like 'sealed:%'),
    check ((closed_at is null) = (closed_by is null))
)
--;
create index reconciliation_cases_opened on reconciliation_cases (opened_at, id)
--;
create index reconciliation_cases_open on reconciliation_cases (provider, asset, booked_at) where closed_at is null
--;
-- What each run found: that the books were compared is to be seen, also where they agree.
create table reconciliation_runs (
    id bigint generated always as identity primary key,
    provider text not null,
    asset text not null,
    since timestamptz not null,
    until timestamptz not null,
    ran_at timestamptz not null default now(),
    found jsonb not null
)
--;
create index reconciliation_runs_ran on reconciliation_runs (provider, asset, ran_at)
--;
-- Whose account a transfer to us is for, by what its sender wrote (domain/funding.py).
create index accounts_funding on accounts (upper(substr(encode(sha256(uuid_send(id)), 'hex'), 1, 14))) where owner is not null
