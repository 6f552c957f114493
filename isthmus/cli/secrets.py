"""`isthmus secrets status | rotate | retire`: the versions of the master key, while the product runs."""

from __future__ import annotations

import asyncio
import json as json_module
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn, TypeVar

import typer

if TYPE_CHECKING:
    import asyncpg

    from isthmus.integrations.secrets.master_key import MasterKey
    from isthmus.integrations.secrets.rotation import Place

_T = TypeVar("_T")
_Work = Callable[["asyncpg.Connection", "MasterKey", "list[Place]"], Awaitable[_T]]

JSON = Annotated[bool, typer.Option("--json", help="One JSON object on standard output.")]

secrets = typer.Typer(
    add_completion=False,
    rich_markup_mode=None,
    no_args_is_help=True,
    help="""Look at the master key's versions, and rotate it while the product runs (docs/secrets.md).

\b
Example:
  isthmus secrets status
  isthmus secrets rotate && isthmus secrets retire --version 1
""",
)


@secrets.command(
    help="""List the versions of the master key, and how many keys are wrapped under each.

\b
Example:
  isthmus secrets status --json
"""
)
def status(json: JSON = False) -> None:
    from isthmus.integrations.secrets import rotation

    found = _run(rotation.status)
    active = {each.kind: each.version for each in found if each.active_since is not None}  # the newest is the last
    rows: list[dict[str, Any]] = [
        {
            "masterKey": each.kind,
            "version": each.version,
            "state": "waiting" if not each.active_since else "active" if active[each.kind] == each.version else "old",
            "since": each.active_since.isoformat() if each.active_since else None,
            "wrapped": sum(each.counts.values()),
            "in": each.counts,
        }
        for each in found
    ]
    if json:
        typer.echo(json_module.dumps({"versions": rows}))
        return
    for row in rows:
        typer.echo(f"{row['masterKey']} v{row['version']}  {row['state']:<7}  wraps {_places(row['in'])}")


@secrets.command(
    help="""Add a version of the master key and wrap every key anew under it. Safe to interrupt: run again, it goes on.

Nothing stops meanwhile, and old versions stay readable until `retire`. Where the product runs on several machines with a
file each, `--prepare` only adds the version: bring the file everywhere, then rotate. Needs the role that owns the tables.

\b
Example:
  isthmus secrets rotate
"""
)
def rotate(
    prepare: Annotated[bool, typer.Option("--prepare", help="Only add the version; nothing uses it yet.")] = False,
    json: JSON = False,
) -> None:
    from isthmus.integrations.secrets import rotation

    if prepare:
        waiting = _run(lambda connection, master, _: rotation.prepare(connection, master))
        typer.echo(json_module.dumps({"version": waiting}) if json else f"version {waiting} waits; nothing uses it yet")
        return
    told = [-1.0]

    def progress(done: int, total: int) -> None:
        share = done / total if total else 1.0
        if share == 1.0 or share - told[0] >= 0.01:
            told[0] = share
            typer.echo(f"wrapped anew: {done} of {total}", err=True)

    done = _run(lambda connection, master, places: rotation.rotate(connection, master, places, progress))
    if json:
        answer = {"version": done.version, "rewrapped": done.rewrapped, "unreadable": done.unreadable}
        typer.echo(json_module.dumps(answer))
    else:
        typer.echo(f"version {done.version} is active; {done.rewrapped} keys were wrapped anew")
    if done.unreadable:
        _fail(f"{done.unreadable} keys open under no version that is here; they were left as they are")


@secrets.command(
    help="""Take an old version of the master key away, so that it opens nothing any more. Refused while anything needs it.

\b
Example:
  isthmus secrets retire --version 1
"""
)
def retire(
    version: Annotated[int, typer.Option(metavar="N", min=1, help="As `status` lists it.")], json: JSON = False
) -> None:
    from isthmus.integrations.secrets import rotation

    _run(lambda connection, master, places: rotation.retire(connection, master, places, version))
    typer.echo(json_module.dumps({"retired": version}) if json else f"version {version} is retired")


@secrets.command(
    help="""Seal a private key (PEM) of ours at a provider, so that its file holds nothing but ciphertext.

The sealed file goes where the key's went in ISTHMUS_SECRETS__CERTIFICATES; the key itself can then be destroyed. It opens for this
provider and purpose only, on every machine that has the master key, and after every rotation.

\b
Example:
  isthmus secrets seal qwac.key --provider truelayer --purpose client
"""
)
def seal(
    key: Annotated[Path, typer.Argument(metavar="KEY", help="File with the key, in PEM without a password.")],
    provider: Annotated[str, typer.Option(help="As in the setting: truelayer, yapily, …")],
    purpose: Annotated[str, typer.Option(help="`client` (QWAC) or `signing` (QSEAL).")],
) -> None:
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    from isthmus.integrations.secrets.sealed_keys import SealedKeys
    from isthmus.runtime.data_directory import write_private

    if purpose not in ("client", "signing"):
        _fail("--purpose: client or signing")
    try:
        pem = key.read_bytes()
        load_pem_private_key(pem, password=None)
    except OSError as error:
        _fail(f"{key.name} cannot be read: {error.strerror}")
    except Exception as error:  # noqa: BLE001 - whichever it is, it may repeat what it read
        _fail(f"{key.name} is no private key in PEM without a password: {type(error).__name__}")
    out = key.with_name(f"{key.name}.sealed")
    write_private(out, SealedKeys(_master_key()).seal(pem, provider, purpose).decode())
    typer.echo(f"sealed in {out}; name it in ISTHMUS_SECRETS__CERTIFICATES, then destroy {key.name}")


def _master_key() -> MasterKey:
    from isthmus.integrations.secrets.opening import open_master_key
    from isthmus.runtime.endpoints import DATABASE, resolve
    from isthmus.runtime.telemetry import configure_logging
    from isthmus.settings import load_settings

    settings = load_settings()
    configure_logging(settings, "cli")
    in_a_vault = settings.secrets.provider == "vault"
    url = resolve(settings, need=DATABASE).database_url if in_a_vault else ""
    return asyncio.run(open_master_key(settings, url, create=False))


def _places(counts: dict[str, int]) -> str:
    return ", ".join(f"{table} {count}" for table, count in sorted(counts.items())) or "nothing"


def _run(work: _Work[_T]) -> _T:
    import asyncpg

    from isthmus.auth.provider.keys import WRAPPED as SIGNING_KEYS
    from isthmus.integrations.secrets.opening import open_master_key
    from isthmus.integrations.secrets.person_keys import WRAPPED as PERSON_KEYS
    from isthmus.integrations.secrets.rotation import RotationRefused
    from isthmus.integrations.secrets.vault_master_key import ROOT_SECRET
    from isthmus.runtime.endpoints import DATABASE, resolve
    from isthmus.runtime.telemetry import configure_logging
    from isthmus.settings import load_settings

    settings = load_settings()
    configure_logging(settings, "cli")
    url = resolve(settings, need=DATABASE).admin_url

    async def connected() -> _T:
        connection = await asyncpg.connect(url, timeout=5)
        try:
            master = await open_master_key(settings, url, create=False)
            return await work(connection, master, [PERSON_KEYS, SIGNING_KEYS, ROOT_SECRET])
        except asyncpg.InsufficientPrivilegeError:
            _fail("this needs the role that owns the tables: set ISTHMUS_DATABASE__ADMIN_URL")
        except RotationRefused as refusal:
            _fail(str(refusal))
        finally:
            await connection.close()

    return asyncio.run(connected())


def _fail(sentence: str) -> NoReturn:
    typer.echo(f"isthmus: {sentence}", err=True)
    raise typer.Exit(1)
