-- Refused while a rebuild of an older release grows its tables: what it would swap in lacks the one below.
select drop_next_read_models()
--;
create function create_parked_events(target text) returns void
    language plpgsql security definer set search_path = pg_catalog, pg_temp as $body$
begin
    if target not in ('read_models', 'read_models_next') then
        raise exception 'not a read model schema: %', target;
    end if;
    -- No byte of an event is copied: it stands in the event store, where a person's texts can be erased.
    execute format($ddl$
        create table %1$I.parked_events (
            partition smallint not null,
            account_id uuid not null,
            position bigint not null,
            event_id uuid not null,
            aggregate_type text not null,
            aggregate_id uuid not null,
            event_type text not null,
            schema_version integer not null,
            reason text not null,
            state text not null default 'NEEDS_ATTENTION',
            tries integer not null,
            first_tried timestamptz not null default clock_timestamp(),
            last_tried timestamptz not null default clock_timestamp(),
            primary key (account_id, position)
        );
        create index on %1$I.parked_events (partition);
    $ddl$, target);
    if exists (select from pg_roles where rolname = 'isthmus_app') then
        execute format('grant select, insert, update, delete on %I.parked_events to isthmus_app', target);
    end if;
end
$body$
--;
alter function create_read_models(text) rename to create_read_models_0001
--;
create function create_read_models(target text) returns void
    language plpgsql security definer set search_path = pg_catalog, pg_temp as $body$
begin
    perform public.create_read_models_0001(target);
    perform public.create_parked_events(target);
end
$body$
--;
select create_parked_events('read_models')
--;
create table refused_records (
    partition smallint not null,
    broker_offset bigint not null,
    digest bytea not null,
    bytes integer not null,
    reason text not null,
    times bigint not null default 1,
    first_seen timestamptz not null default clock_timestamp(),
    last_seen timestamptz not null default clock_timestamp(),
    primary key (partition, broker_offset, digest)
)
