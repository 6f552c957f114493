"""The part of `isthmus doctor` that asks the servers: each in its own protocol, each with a deadline.

Libraries are imported up here, so that loading them on a busy machine is not taken for a server that does not answer.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import httpx
from aiokafka.client import AIOKafkaClient
from redis.asyncio import Redis

from isthmus.cli.doctor import DEADLINE_S, Finding, within_deadline
from isthmus.runtime.endpoints import resolve
from isthmus.settings import Settings

_POSTGRES_MIN = 160_000
_EVENT_TRIGGERS = tuple(
    f"isthmus_refuse_{what}"
    for what in ("concurrently", "drop", "dropping_guards", "replacing_guards", "rewrite", "unguarded")
)
#: Guarded tables that lack one of their guards, or have it switched off. As the event trigger sees it.
_UNGUARDED = """
    select c.relname || ' ' || g.name from pg_class c
    cross join lateral (values ('append_only'), ('append_only_truncate'), ('balanced')) as g (name)
    where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'p')
        and c.relname ~ '^(event_store|journal_entries|entries|pending_entries|entries_[0-9]{4}_[0-9]{2})$'
        and (g.name <> 'balanced' or c.relname ~ 'entries' and c.relname <> 'journal_entries')
        and not exists (select from pg_trigger t where t.tgrelid = c.oid and t.tgname = g.name and t.tgenabled = 'A')
    order by 1
"""
_PARTITIONS = """
    select c.relname from pg_inherits i join pg_class c on c.oid = i.inhrelid
    where i.inhparent = to_regclass('public.entries')
"""
_LOOK_AT = "see that it runs, and that ISTHMUS_{}__URL is right"

_Check = Callable[[str], Awaitable[Finding]]


async def examine_servers(settings: Settings) -> list[Finding]:
    """A finding or more per server. Servers that nobody has started are one warning together, not one each."""
    endpoints = resolve(settings, need=())
    checks: dict[str, tuple[str, _Check, str]] = {
        "Redis protocol": (endpoints.redis_url, _redis, _LOOK_AT.format("REDIS")),
        "Kafka protocol": (endpoints.kafka_url, _kafka, _LOOK_AT.format("KAFKA")),
        "sign-in": (endpoints.issuer_url, _issuer, _LOOK_AT.format("ISSUER")),
        "API": (endpoints.api_url, _api, "start it: `isthmus up`, or `isthmus serve`"),
    }
    work = [_one(name, check, url, remedy) for name, (url, check, remedy) in checks.items() if url]
    if endpoints.database_url:
        work.insert(0, _database(endpoints.database_url, settings))
    findings = [finding for found in await asyncio.gather(*work) for finding in found]
    missing = ["database"] if not endpoints.database_url else []
    if missing := missing + [name for name, (url, *_) in checks.items() if not url]:
        findings.append(Finding("servers", "warning", f"nobody runs here: {', '.join(missing)}", "`isthmus up`"))
    return findings


async def _one(name: str, check: _Check, url: str, remedy: str) -> list[Finding]:
    return [await within_deadline(name, lambda: check(url), remedy)]


async def _database(url: str, settings: Settings) -> list[Finding]:
    """The shape is only looked at once the server is known to answer."""
    found: list[Finding] = []
    connection: Any = None

    async def reach() -> Finding:
        nonlocal connection
        connection = await asyncpg.connect(url, timeout=DEADLINE_S, command_timeout=DEADLINE_S)
        number = int(await connection.fetchval("select current_setting('server_version_num')"))
        text = f"PostgreSQL {await connection.fetchval('show server_version')}"
        if number < _POSTGRES_MIN:
            return Finding("database", "problem", text, "16 or newer is needed")
        return Finding("database", "ok", text)

    found.append(await within_deadline("database", reach, _LOOK_AT.format("DATABASE")))
    if connection is None:
        return found
    try:
        migrations = await within_deadline("migrations", lambda: _migrations(connection), "`isthmus migrate`")
        found.append(migrations)
        if migrations.status == "ok":
            found.append(await within_deadline("append-only guards", lambda: _guards(connection), "`isthmus migrate`"))
            months = settings.work.partitions_ahead_months
            found.append(
                await within_deadline("partitions", lambda: _partitions(connection, months), "`isthmus migrate`")
            )
            found.append(await within_deadline("projections", lambda: _parked(connection), "`isthmus migrate`"))
    finally:
        connection.terminate()
    return found


async def _migrations(connection: Any) -> Finding:
    newest = _newest_revisions()
    table = await connection.fetchval("select to_regclass('public.alembic_version') is not null")
    here = {row[0] for row in await connection.fetch("select version_num from alembic_version")} if table else set()
    if here == newest:
        return Finding("migrations", "ok", f"at the newest revision, {', '.join(sorted(newest))}")
    told = f"at {', '.join(sorted(here)) or 'none'}, the newest is {', '.join(sorted(newest))}"
    return Finding("migrations", "problem", told, "`isthmus migrate`")


def _newest_revisions() -> set[str]:
    """The revisions that no other builds on, read from the files: loading them would import what each migrates with."""
    named: dict[str, set[str]] = {"revision": set(), "down_revision": set()}
    for file in (Path(__file__).parents[1] / "migrations" / "versions").glob("*.py"):
        for name, value in re.findall(
            r"^(revision|down_revision)[^=\n]*=\s*[\"'](\w+)[\"']", file.read_text(), re.MULTILINE
        ):
            named[name].add(value)
    return named["revision"] - named["down_revision"]


async def _guards(connection: Any) -> Finding:
    check = "append-only guards"
    if bare := [row[0] for row in await connection.fetch(_UNGUARDED)]:
        told = f"missing or switched off: {', '.join(bare)}"
        return Finding(check, "problem", told, "find out who took them away, put them back, run `isthmus verify`")
    rows = await connection.fetch(
        "select evtname from pg_event_trigger where evtname like 'isthmus_refuse_%' and evtenabled = 'A'"
    )
    if missing := set(_EVENT_TRIGGERS) - {row[0] for row in rows}:
        told = f"the tables are guarded, but not their guards: no event trigger {', '.join(sorted(missing))}"
        return Finding(check, "warning", told, "let a superuser run `isthmus migrate`, or make them by hand")
    return Finding(check, "ok", "on every append-only table, and guarded themselves")


async def _partitions(connection: Any, months_ahead: int) -> Finding:
    months = {row[0].removeprefix("entries_") for row in await connection.fetch(_PARTITIONS)}
    today = datetime.now(UTC)
    if f"{today:%Y_%m}" not in months:
        return Finding("partitions", "problem", f"none for {today:%Y-%m}", "start `isthmus work`: it makes them")
    ahead = 0
    while f"{_month_after(today, ahead + 1)}" in months:
        ahead += 1
    found = f"{ahead} months of entries ahead"
    if ahead < months_ahead:
        remedy = f"start `isthmus work`: it keeps {months_ahead} ahead"
        return Finding("partitions", "warning", found, remedy)
    return Finding("partitions", "ok", found)


async def _parked(connection: Any) -> Finding:
    row = await connection.fetchrow(
        "select count(*) as records, count(distinct account_id) as accounts, min(position) as first, "
        "(array_agg(reason order by position))[1] as reason from read_models.parked_events"
    )
    if not row["records"]:
        return Finding("projections", "ok", "nothing is set aside")
    found = (
        f"NEEDS_ATTENTION: {row['records']} records of {row['accounts']} accounts are set aside, "
        f"the first at position {row['first']}: {row['reason']}"
    )
    return Finding("projections", "problem", found, "run the release that wrote them; `isthmus parked` lists them")


def _month_after(day: datetime, months: int) -> str:
    years, month = divmod(day.month - 1 + months, 12)
    return f"{day.year + years}_{month + 1:02}"


async def _redis(url: str) -> Finding:
    client = Redis.from_url(url, socket_timeout=DEADLINE_S, socket_connect_timeout=DEADLINE_S)
    try:
        await client.ping()
        facts = await client.info("server")
    finally:
        await client.aclose()
    name = "Valkey" if "valkey_version" in facts else "Redis"
    return Finding("Redis protocol", "ok", f"{name} {facts.get('valkey_version', facts.get('redis_version', '?'))}")


async def _kafka(servers: str) -> Finding:
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # its failure is our finding, told once
    client = AIOKafkaClient(bootstrap_servers=servers, request_timeout_ms=int(DEADLINE_S * 1_000))
    try:
        await client.bootstrap()
        metadata = await client.fetch_all_metadata()
        brokers, topics = len(metadata.brokers()), len(metadata.topics(exclude_internal_topics=True))
    finally:
        await client.close()
    return Finding("Kafka protocol", "ok", f"brokers {brokers}, topics {topics}")


async def _issuer(url: str) -> Finding:
    async with httpx.AsyncClient(timeout=DEADLINE_S) as http:
        answer = await http.get(f"{url.rstrip('/')}/.well-known/openid-configuration")
        answer.raise_for_status()
        told = answer.json()
        keys = (await http.get(told["jwks_uri"])).raise_for_status().json()["keys"]
    if str(told.get("issuer", "")).rstrip("/") != url.rstrip("/"):
        found = f"discovery names another issuer: {told.get('issuer')}"
        return Finding("sign-in", "problem", found, "set ISTHMUS_ISSUER__URL to exactly that")
    if not keys:
        return Finding("sign-in", "problem", f"{url} publishes no keys", "tokens cannot be checked: ask its operator")
    return Finding("sign-in", "ok", f"{url}, signing keys: {len(keys)}")


async def _api(url: str) -> Finding:
    base = urlsplit(url)
    async with httpx.AsyncClient(timeout=DEADLINE_S) as http:
        answer = await http.get(f"{base.scheme}://{base.netloc}/readyz")
    if answer.status_code == 200:
        return Finding("API", "ok", f"{base.scheme}://{base.netloc} is ready")
    told = " ".join(answer.text.split())[:300]
    return Finding("API", "problem", f"/readyz says {answer.status_code}: {told}", "the parts above tell which")
