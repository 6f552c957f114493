"""`isthmus operations publish | list | retire`: which operations of clients production runs."""

from __future__ import annotations

import asyncio
import getpass
import json as json_module
import re
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn, TypeVar

import typer

if TYPE_CHECKING:
    import asyncpg

_T = TypeVar("_T")
_CLIENT = re.compile(r"[A-Za-z0-9._-]{1,64}")
_DIGEST_START = re.compile(r"[0-9a-f]{8,64}")

Client = Annotated[str, typer.Option(metavar="NAME", help="Whose operations they are: letters, digits, `.`, `_`, `-`.")]
OneClient = Annotated[str | None, typer.Option("--client", metavar="NAME", help="Only this client's.")]
By = Annotated[str | None, typer.Option(metavar="NAME", help="Who does it, for the record; without it, this login.")]
JSON = Annotated[bool, typer.Option("--json", help="One JSON object on standard output.")]

operations = typer.Typer(
    add_completion=False,
    rich_markup_mode=None,
    no_args_is_help=True,
    help="""Publish, list and retire the operations that production runs. In development mode any document runs.

\b
Example:
  isthmus operations publish web/operations.graphql --client web
  isthmus operations list
""",
)


@operations.command(
    help="""Register a client's operations, so that production runs them. Safe to repeat; all of them or none.

FILE is a .graphql file (several operations and fragments may stand in it, fragments also in another FILE), Apollo's
persisted-query manifest, or the JSON of Relay's compiler or of GraphQL Code Generator's client preset.
What a server would refuse is refused here, with the reason. Needs the role that owns the tables.

\b
Example:
  isthmus operations publish web/operations.graphql --client web
  isthmus operations publish persisted-query-manifest.json --client ios
"""
)
def publish(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", exists=True, dir_okay=False, help="What to read.")],
    client: Client = "default",
    by: By = None,
    json: JSON = False,
) -> None:
    from isthmus.graphql.documents import Documents
    from isthmus.graphql.execution import limits_of
    from isthmus.graphql.publishing import Unpublishable, accept
    from isthmus.graphql.schema import build_schema
    from isthmus.runtime import trusted_documents as store
    from isthmus.settings import load_settings

    if not _CLIENT.fullmatch(client):
        raise typer.BadParameter("1 to 64 letters, digits, `.`, `_`, `-`", param_hint="--client")
    api = load_settings().api
    documents = Documents(
        build_schema()._schema, limits_of(api), tokens_max=api.tokens_max, trusted=_Nothing(), development=True
    )
    try:
        accepted, notes = accept({str(file): _text(file) for file in files}, documents)
    except Unpublishable as refusal:
        for fault in refusal.faults:
            typer.echo(f"isthmus: {fault}", err=True)
        _fail("nothing was published")
    for note in notes:
        typer.echo(f"left out: {note}", err=True)
    found = [store.Document(each.digest, each.text, each.operations) for each in accepted]
    try:
        new = set(_run(lambda connection: store.publish(connection, client, found, by or _login())))
    except store.TooManyDocuments as refusal:
        _fail(str(refusal))
    rows = [
        {
            "sha256": each.digest.hex(),
            "operations": list(each.operations),
            "from": each.origin,
            "new": each.digest in new,
        }
        for each in accepted
    ]
    if json:
        typer.echo(json_module.dumps({"client": client, "published": len(new), "documents": rows}))
    else:
        for row in rows:
            typer.echo(f"{row['sha256']}  {'new  ' if row['new'] else 'known'}  {row['from']}")
    typer.echo(f"{len(new)} new of {len(accepted)} for client {client}", err=True)


@operations.command(
    "list",
    help="""List what is published: SHA-256, client, when and by whom, operations.

\b
Example:
  isthmus operations list --client web
""",
)
def listing(
    client: OneClient = None,
    retired: Annotated[bool, typer.Option("--retired", help="Those too that were retired.")] = False,
    json: JSON = False,
) -> None:
    from isthmus.runtime import trusted_documents as store

    found = _run(lambda connection: store.published(connection, client, retired=retired), as_owner=False)
    if json:
        rows = [
            {
                "client": each.client,
                "sha256": each.digest.hex(),
                "operations": list(each.operations),
                "publishedAt": each.published_at.isoformat(),
                "publishedBy": each.published_by,
                "retiredAt": each.retired_at.isoformat() if each.retired_at else None,
                "retiredBy": each.retired_by,
            }
            for each in found
        ]
        typer.echo(json_module.dumps({"documents": rows}))
        return
    for each in found:
        when = f"{each.published_at:%Y-%m-%d %H:%M} {each.published_by}"
        if each.retired_at is not None:
            when += f", retired {each.retired_at:%Y-%m-%d %H:%M} {each.retired_by}"
        names = ", ".join(name or "(no name)" for name in each.operations)
        typer.echo(f"{each.digest.hex()}  {each.client}  {when}  {names}")
    typer.echo(f"{len(found)} documents", err=True)


@operations.command(
    help="""Take documents back: production refuses them within seconds. Safe to repeat.

SHA256 may be cut after its first eight digits, where that names one document.

\b
Example:
  isthmus operations retire 0f3c2a91 --client web
"""
)
def retire(
    sha256: Annotated[list[str], typer.Argument(metavar="SHA256...", help="As `list` prints it.")],
    client: OneClient = None,
    by: By = None,
    json: JSON = False,
) -> None:
    from isthmus.runtime import trusted_documents as store

    for start in sha256:
        if not _DIGEST_START.fullmatch(start.lower()):
            raise typer.BadParameter(f"{start} is not 8 to 64 hexadecimal digits", param_hint="SHA256")

    async def work(connection: asyncpg.Connection) -> int:
        known = {each.digest for each in await store.published(connection, client, retired=True)}
        digests = []
        for start in sha256:
            matching = [digest for digest in known if digest.hex().startswith(start.lower())]
            if len(matching) != 1:
                _fail(f"{start} names {'no document' if not matching else 'several documents'}; nothing was retired")
            digests += matching
        return await store.retire(connection, digests, client, by or _login())

    count = _run(work)
    typer.echo(json_module.dumps({"retired": count}) if json else f"retired {count}")


class _Nothing:
    async def find(self, digest: bytes) -> str | None:
        del digest
        return None

    def knows(self, digest: bytes) -> bool:
        del digest
        return False


def _text(file: Path) -> str:
    try:
        # As it is, to the byte: a line end that were changed would be another SHA-256.
        return file.read_bytes().decode("utf-8")
    except UnicodeDecodeError:
        _fail(f"{file}: not UTF-8")


def _run(work: Callable[[asyncpg.Connection], Awaitable[_T]], *, as_owner: bool = True) -> _T:
    import asyncpg

    from isthmus.runtime.endpoints import DATABASE, resolve
    from isthmus.settings import load_settings

    endpoints = resolve(load_settings(), need=DATABASE)

    async def connected() -> _T:
        connection = await asyncpg.connect(endpoints.admin_url if as_owner else endpoints.database_url, timeout=5)
        try:
            return await work(connection)
        except asyncpg.InsufficientPrivilegeError:
            _fail("this needs the role that owns the tables: set ISTHMUS_DATABASE__ADMIN_URL")
        finally:
            await connection.close()

    return asyncio.run(connected())


def _login() -> str:
    with suppress(OSError, KeyError, ImportError):  # a container may have no name for its user
        return getpass.getuser()[:100]
    return "unknown"


def _fail(sentence: str) -> NoReturn:
    typer.echo(f"isthmus: {sentence}", err=True)
    raise typer.Exit(1)
