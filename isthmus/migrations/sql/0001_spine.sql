create table assets (
    code text primary key check (code ~ '^[A-Z0-9]{2,12}$'),
    kind text not null check (kind in ('FIAT', 'CRYPTO')),
    name text not null,
    scale smallint not null check (scale between 0 and 18),
    enabled boolean not null default true
)
--;
insert into assets (code, kind, name, scale) values
    ('EUR', 'FIAT', 'Euro', 2),
    ('GBP', 'FIAT', 'Pound sterling', 2),
    ('USD', 'FIAT', 'US dollar', 2),
    ('CHF', 'FIAT', 'Swiss franc', 2),
    ('SEK', 'FIAT', 'Swedish krona', 2),
    ('PLN', 'FIAT', 'Polish zloty', 2),
    ('JPY', 'FIAT', 'Japanese yen', 0),
    ('BTC', 'CRYPTO', 'Bitcoin', 8),
    ('ETH', 'CRYPTO', 'Ether', 18),
    ('USDC', 'CRYPTO', 'USD Coin', 6),
    ('USDT', 'CRYPTO', 'Tether', 6)
--;
create table log_head (
    only_row boolean primary key default true check (only_row),
    position bigint not null,
    committed_at timestamptz not null
)
--;
insert into log_head (position, committed_at) values (0, '2020-01-01T00:00:00Z')
--;
create table event_store (
    position bigint primary key,
    event_id uuid not null unique,
    aggregate_type text not null,
    aggregate_id uuid not null,
    version integer not null check (version > 0),
    type text not null,
    schema_version integer not null check (schema_version > 0),
    data jsonb not null,
    metadata jsonb not null,
    committed_at timestamptz not null,
    hash bytea not null check (length(hash) = 32),
    unique (aggregate_id, version)
)
--;
create table accounts (
    id uuid primary key,
    code text not null unique,
    name text,
    type text not null check (type in ('ASSET', 'LIABILITY', 'EQUITY', 'REVENUE', 'EXPENSE')),
    normal_balance text not null generated always as (
        case when type in ('ASSET', 'EXPENSE') then 'DEBIT' else 'CREDIT' end
    ) stored,
    asset text not null references assets (code),
    owner uuid,
    may_overdraw boolean not null default false
)
--;
create index accounts_owner on accounts (owner) where owner is not null
--;
create table account_balances (
    account_id uuid primary key references accounts (id),
    posted numeric(78, 18) not null default 0,
    pending_in numeric(78, 18) not null default 0 check (pending_in >= 0),
    pending_out numeric(78, 18) not null default 0 check (pending_out >= 0),
    version bigint not null default 0,
    floor numeric(78, 18) default 0,
    frozen boolean not null default false,
    freezes text[] not null default '{}',
    closed boolean not null default false,
    stream_version integer not null default 1,
    as_of timestamptz not null,
    constraint account_balances_floor check (floor is null or posted - pending_out >= floor),
    constraint account_balances_frozen check (frozen = (cardinality(freezes) > 0))
) with (fillfactor = 50)
--;
create table journal_entries (
    id uuid primary key,
    reference_id text not null unique,
    kind text not null,
    phase text not null check (phase in ('POSTED', 'PENDING', 'VOIDED')),
    reference text check (reference is null or reference like 'sealed:%'),
    correlation_id text not null,
    event_id uuid not null,
    posted_at timestamptz not null,
    reverses uuid unique references journal_entries (id),
    resolves uuid unique references journal_entries (id),
    linked uuid,
    expires_at timestamptz
)
--;
create index journal_entries_expiry on journal_entries (expires_at) where phase = 'PENDING' and expires_at is not null
--;
create table entries (
    id bigint generated always as identity,
    journal_id uuid not null,
    account_id uuid not null,
    amount numeric(78, 18) not null check (amount > 0),
    asset text not null,
    direction text not null check (direction in ('DEBIT', 'CREDIT')),
    posted_at timestamptz not null,
    account_version bigint not null,
    posted_after numeric(78, 18) not null,
    pending_in_after numeric(78, 18) not null,
    pending_out_after numeric(78, 18) not null,
    primary key (journal_id, id, posted_at)
) partition by range (posted_at)
--;
create index entries_account on entries (account_id, posted_at desc, account_version desc)
--;
create table pending_entries (
    id bigint generated always as identity,
    journal_id uuid not null,
    account_id uuid not null references accounts (id),
    amount numeric(78, 18) not null check (amount > 0),
    asset text not null,
    direction text not null check (direction in ('DEBIT', 'CREDIT')),
    effect text not null check (effect in ('RESERVE', 'RELEASE')),
    posted_at timestamptz not null,
    account_version bigint not null,
    posted_after numeric(78, 18) not null,
    pending_in_after numeric(78, 18) not null,
    pending_out_after numeric(78, 18) not null,
    primary key (journal_id, id)
)
--;
create index pending_entries_account on pending_entries (account_id, posted_at desc, account_version desc)
--;
create table outbox (
    id uuid primary key,
    aggregatetype text not null,
    aggregateid text not null,
    type text not null,
    payload jsonb not null,
    position bigint not null,
    correlation_id text not null
)
--;
create index outbox_position on outbox (position)
--;
create table idempotency (
    scope bytea primary key check (length(scope) = 32),
    request_hash bytea not null check (length(request_hash) = 32),
    outcome jsonb not null,
    position bigint not null,
    committed_at timestamptz not null
)
--;
create table person_keys (
    person_id uuid primary key,
    wrapped_key bytea not null,
    master_key_version integer not null default 1,
    created_at timestamptz not null default now()
)
--;
create table relay_state (
    name text primary key,
    position bigint not null
)
--;
create table leases (
    name text primary key,
    holder uuid not null,
    epoch bigint not null,
    expires_at timestamptz not null
)
--;
create function refuse_change() returns trigger language plpgsql as $$
begin
    raise exception '% is append-only: % refused', tg_table_name, lower(tg_op)
        using errcode = 'IA001', hint = 'Corrections are reversing journals.';
end
$$
--;
create function refuse_asset_change() returns trigger language plpgsql as $$
begin
    raise exception 'an account''s asset, owner, type and code never change' using errcode = 'IA002';
end
$$
--;
create trigger accounts_identity before update on accounts for each row
    when (old.asset is distinct from new.asset or old.type is distinct from new.type
        or old.owner is distinct from new.owner or old.may_overdraw is distinct from new.may_overdraw or old.code is distinct from new.code or old.id is distinct from new.id)
    execute function refuse_asset_change()
--;
alter table accounts enable always trigger accounts_identity
--;
create function refuse_going_back() returns trigger language plpgsql as $$
begin
    raise exception 'the log''s end only rises' using errcode = 'IA004';
end
$$
--;
create trigger log_head_rises before update on log_head for each row
    when (new.position < old.position or new.committed_at < old.committed_at) execute function refuse_going_back()
--;
create trigger log_head_stays before delete or truncate on log_head for each statement execute function refuse_going_back()
--;
alter table log_head enable always trigger log_head_rises
--;
alter table log_head enable always trigger log_head_stays
--;
create function check_balanced() returns trigger language plpgsql as $$
declare
    fault record;
begin
    select n.journal_id, n.account_id into fault
    from new_rows n left join public.accounts a on a.id = n.account_id
    where a.asset is distinct from n.asset
    limit 1;
    if found then
        raise exception 'entry of journal %: the account does not hold that asset', fault.journal_id using errcode = 'IB002';
    end if;
    select n.journal_id, n.asset into fault
    from new_rows n
    group by n.journal_id, n.asset
    having sum(case n.direction when 'DEBIT' then n.amount else -n.amount end) <> 0
    limit 1;
    if found then
        raise exception 'journal % is unbalanced in %', fault.journal_id, fault.asset using errcode = 'IB001',
            hint = 'All entries of a journal come in one INSERT.';
    end if;
    -- A journal gets its entries in the transaction that makes it, and never more.
    select n.journal_id into fault
    from new_rows n left join public.journal_entries j on j.id = n.journal_id
    where j.id is null or j.xmin is distinct from pg_current_xact_id()::xid or j.posted_at <> n.posted_at
    limit 1;
    if found then
        raise exception 'journal % is not of this transaction', fault.journal_id using errcode = 'IB003';
    end if;
    return null;
end
$$
--;
create function guard_append_only(guarded regclass) returns void language plpgsql as $$
begin
    execute format('create trigger append_only before update or delete on %s for each statement execute function refuse_change()', guarded);
    execute format('create trigger append_only_truncate before truncate on %s for each statement execute function refuse_change()', guarded);
    execute format('alter table %s enable always trigger append_only', guarded);
    execute format('alter table %s enable always trigger append_only_truncate', guarded);
end
$$
--;
create function guard_balanced(guarded regclass) returns void language plpgsql as $$
begin
    execute format('create trigger balanced after insert on %s referencing new table as new_rows for each statement execute function check_balanced()', guarded);
    execute format('alter table %s enable always trigger balanced', guarded);
end
$$
--;
select guard_append_only('event_store'), guard_append_only('journal_entries'), guard_append_only('entries'), guard_append_only('pending_entries'), guard_balanced('entries'), guard_balanced('pending_entries')
--;
create function make_entries_partition(month date) returns boolean
    language plpgsql security definer set search_path = public, pg_temp as $$
declare
    first date := date_trunc('month', month)::date;
    name text := 'entries_' || to_char(first, 'YYYY_MM');
begin
    -- Two makers at once: the second waits, then sees the first one's partition.
    perform pg_advisory_xact_lock(hashtext('make_entries_partition'));
    if to_regclass(format('public.%I', name)) is not null then
        return false;
    end if;
    -- Guarded before it is attached: there is never a month without its guards.
    execute format('create table public.%I (like public.entries including constraints)', name);
    perform guard_append_only(format('public.%I', name)::regclass);
    perform guard_balanced(format('public.%I', name)::regclass);
    execute format('alter table public.entries attach partition public.%I for values from (%L) to (%L)', name,
        first::timestamp at time zone 'UTC', (first + interval '1 month') at time zone 'UTC');
    return true;
end
$$
--;
create function make_entries_partitions(from_month date, months_ahead integer) returns integer
    language sql security definer set search_path = public, pg_temp as $$
    select count(*) filter (where make_entries_partition((date_trunc('month', from_month) + make_interval(months => n))::date))::integer
    -- Ten years at most, whoever asks.
    from generate_series(0, least(months_ahead, 120)) as n
$$
--;
select make_entries_partitions((now() at time zone 'UTC')::date, 3)
--;
create function event_hash(previous bytea, event_position bigint, event_id uuid, aggregate_type text, aggregate_id uuid, version integer, type text, schema_version integer, data jsonb, metadata jsonb, committed_at timestamptz)
    returns bytea language sql stable parallel safe as $$
    select sha256(previous || convert_to(concat_ws(chr(31), event_position, event_id, aggregate_type, aggregate_id, version, type,
        schema_version, (extract(epoch from committed_at) * 1000000)::bigint, data::text, metadata::text), 'UTF8'))
$$
--;
create function is_guarded(schema_name text, table_name text) returns boolean language sql immutable as $$
    select schema_name = 'public' and table_name ~ '^(event_store|journal_entries|entries|pending_entries|entries_[0-9]{4}_[0-9]{2})$'
$$
--;
create function refuse_drop() returns event_trigger language plpgsql as $$
declare
    dropped record;
begin
    for dropped in select *, address_names[1] as of_schema, address_names[2] as of_table from pg_event_trigger_dropped_objects() loop
        if dropped.object_type = 'table' and (public.is_guarded(dropped.schema_name, dropped.object_name)
            or dropped.object_identity in ('public.accounts', 'public.account_balances', 'public.log_head', 'public.idempotency'))
        then
            raise exception '% is append-only: drop refused', dropped.object_name using errcode = 'IA003';
        end if;
        if dropped.object_type in ('table column', 'table constraint') and public.is_guarded(dropped.of_schema, dropped.of_table) then
            raise exception '% is append-only: dropping % is refused', dropped.of_table, dropped.object_identity using errcode = 'IA003';
        end if;
        if dropped.object_type = 'trigger'
            and dropped.object_identity ~ '^(append_only|append_only_truncate|balanced|accounts_identity|log_head_rises|log_head_stays) on public\.'
        then
            raise exception 'the guard "%" is not to be dropped', dropped.object_identity using errcode = 'IA003';
        end if;
    end loop;
end
$$
--;
create schema guards
--;
-- The guards' guard, in a schema of its own: a function that is dropped takes its event trigger along and is asked no more.
create function guards.refuse_drop() returns event_trigger language plpgsql as $$
begin
    if exists (select from pg_event_trigger_dropped_objects() d
        where d.object_type = 'function' and d.object_identity ~ '^public\.(refuse_[a-z_]+|check_balanced|is_guarded)\(')
    then
        raise exception 'a guard is not to be dropped' using errcode = 'IA003';
    end if;
end
$$
--;
create function guards.refuse_replacing() returns event_trigger language plpgsql as $$
begin
    if exists (select from pg_event_trigger_ddl_commands() d
        where d.object_type = 'function' and d.object_identity ~ '^(guards\.|public\.(refuse_[a-z_]+|check_balanced|is_guarded)\()')
    then
        raise exception 'a guard is not to be changed' using errcode = 'IA003',
            hint = 'A migration that must do this disables the event trigger for its own transaction, by name.';
    end if;
end
$$
--;
create function refuse_concurrently() returns event_trigger language plpgsql as $$
begin
    -- DETACH ... CONCURRENTLY commits half of itself before any trigger at the command's end is asked.
    if current_query() ~* '\mconcurrently\M' then
        raise exception 'detaching is refused' using errcode = 'IA003';
    end if;
end
$$
--;
create function refuse_unguarded() returns event_trigger language plpgsql as $$
declare
    bare record;
begin
    if exists (select from pg_event_trigger_ddl_commands() d
        where d.object_type = 'function' and d.object_identity ~ '^(guards\.|public\.(refuse_[a-z_]+|check_balanced|is_guarded)\()')
    then
        raise exception 'a guard is not to be changed' using errcode = 'IA003';
    end if;
    if exists (select from pg_event_trigger_ddl_commands() d where d.object_type = 'table column'
        and public.is_guarded(split_part(d.object_identity, '.', 1), split_part(d.object_identity, '.', 2)))
    then
        raise exception 'renaming a column of an append-only table is refused' using errcode = 'IA003';
    end if;
    -- Under its own name, guarded, and (the months) attached: a table that is renamed is a table that was taken away.
    select n.name into bare
    from (values ('event_store'), ('journal_entries'), ('entries'), ('pending_entries')) as n (name)
    where to_regclass('public.' || n.name) is null
    limit 1;
    if found then
        raise exception '% is append-only: renaming or moving it is refused', bare.name using errcode = 'IA003';
    end if;
    with guarded as (
        select c.* from pg_class c
        where c.oid in ('public.event_store'::regclass, 'public.journal_entries'::regclass, 'public.entries'::regclass,
                'public.pending_entries'::regclass)
            or c.oid in (select i.inhrelid from pg_inherits i where i.inhparent = 'public.entries'::regclass)
    )
    select c.relname as name into bare
    from guarded c
    cross join lateral (values ('append_only', 26, 'public.refuse_change()'::regprocedure),
        ('append_only_truncate', 34, 'public.refuse_change()'::regprocedure),
        ('balanced', 4, 'public.check_balanced()'::regprocedure)) as g (name, kind, function)
    where c.relrowsecurity
        or exists (select from pg_rewrite r where r.ev_class = c.oid)
        or exists (select from pg_inherits i where i.inhparent = c.oid and c.oid <> 'public.entries'::regclass)
        or ((g.name <> 'balanced' or c.oid not in ('public.event_store'::regclass, 'public.journal_entries'::regclass))
            and not exists (select from pg_trigger t where t.tgrelid = c.oid and t.tgname = g.name and t.tgenabled = 'A'
                and t.tgtype = g.kind and t.tgfoid = g.function and t.tgqual is null and t.tgattr = ''))
    limit 1;
    if found then
        raise exception '% would lose its guard', bare.name using errcode = 'IA003';
    end if;
    if exists (select from (values ('accounts', 'accounts_identity'), ('log_head', 'log_head_rises'), ('log_head', 'log_head_stays')) as g (t, name)
        where not exists (select from pg_trigger t where t.tgrelid = to_regclass('public.' || g.t) and t.tgname = g.name and t.tgenabled = 'A'))
    then
        raise exception 'accounts or log_head would lose its guard' using errcode = 'IA003';
    end if;
    -- A month that this transaction makes is empty, and not attached yet.
    select c.relname as name into bare
    from pg_class c left join pg_inherits i on i.inhrelid = c.oid and i.inhparent = 'public.entries'::regclass
    cross join lateral (select c.relnamespace = 'public'::regnamespace and c.relname ~ '^entries_[0-9]{4}_[0-9]{2}$' as month) m
    where c.relkind = 'r'
        and ((i.inhrelid is not null and not m.month) or (i.inhrelid is null and m.month and (pg_relation_size(c.oid) > 0
                or not exists (select from pg_type t where t.oid = c.reltype and t.xmin = pg_current_xact_id()::xid))))
    limit 1;
    if found then
        raise exception '% is append-only: detaching, renaming or moving it is refused', bare.name using errcode = 'IA003';
    end if;
end
$$
--;
create function refuse_rewrite() returns event_trigger language plpgsql as $$
begin
    if pg_event_trigger_table_rewrite_oid()::regclass::text ~ '^(public\.)?(event_store|journal_entries|entries|pending_entries|entries_[0-9]{4}_[0-9]{2})$' then
        raise exception '% is append-only: rewriting it is refused', pg_event_trigger_table_rewrite_oid()::regclass using errcode = 'IA003';
    end if;
end
$$
