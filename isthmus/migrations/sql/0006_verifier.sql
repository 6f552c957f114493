create table verifier_state (
    only_row boolean primary key default true check (only_row),
    checked bigint not null default 0,
    swept bigint not null default 0,
    verified_at timestamptz
)
--;
insert into verifier_state default values
--;
create table verifier_findings (
    invariant text not null,
    violation text not null,
    position bigint not null,
    found_at timestamptz not null default clock_timestamp(),
    primary key (invariant, violation)
)
