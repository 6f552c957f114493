"""Row G12: what was wrong with our own dependencies. One exploit each, tried on us, and the version that mended it in the lock."""

from __future__ import annotations

import json
import re
import time
import tomllib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import jwt
import pytest_asyncio
from cryptography.hazmat.primitives.asymmetric import ec

from isthmus.runtime.servers import EmbeddedServers
from tests.api.conftest import Person, Served
from tests.attacks.count import Row
from tests.attacks.wire import http
from tests.auth.fake_issuer import b64, ec_key, jwk_of, signature_of
from tests.auth.provider_kit import CLI, Kit, on_its_own_database

ROOT = Path(__file__).parents[2]
#: The first version without the fault, by the advisory that told of it.
FLOORS = {
    "strawberry-graphql": (
        0,
        315,
        7,
    ),  # CVE-2026-35523, -35526 (0.312.3), CVE-2026-47707; multipart off by default (0.243)
    "authlib": (1, 6, 9),  # CVE-2025-68158, CVE-2025-59420, CVE-2026-27962, CVE-2026-28802, CVE-2026-28498
    "starlette": (0, 49, 1),  # CVE-2025-62727
}


def version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", text)[:3])


def test_g12_the_lock_has_no_version_with_a_known_fault(row: Row) -> None:
    for lock in ("runtime.txt", "dev.txt"):
        locked = dict(
            re.findall(
                r"^([a-z0-9-]+)(?:\[[^]]*\])?==([^ ;\\]+)", (ROOT / "requirements" / lock).read_text(), re.MULTILINE
            )
        )
        for name, floor in FLOORS.items():
            with row.case((lock, name)):
                assert version(locked[name]) >= floor
    wanted = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    asked = {re.split(r"[\[>=]", line)[0]: line for line in wanted}
    for name, floor in FLOORS.items():
        with row.case(("pyproject", name)):
            assert version(asked[name].split(">=")[1]) >= floor, "whoever installs without the lock"


def test_g12_aliases_behind_fragments_are_counted(served: Served, ada: Person, row: Row) -> None:
    """CVE-2026-47707: the limiter did not look into fragments."""
    for spreads, aliases in ((1, 16), (2, 8), (4, 4), (16, 1), (300, 1)):
        text = f"{{ viewer {{ {'...f ' * spreads} }} }} fragment f on Viewer {{ {' '.join(f'a{n}: id' for n in range(aliases))} }}"
        with row.case((spreads, aliases)):
            assert ada.refused(text) == "QUERY_TOO_COMPLEX"


def test_g12_multipart_never_becomes_an_operation(served: Served, ada: Person, row: Row) -> None:
    """A form that any page can send without being asked first."""
    wish = 'mutation { openAccount(input: {asset: "EUR", name: "x", idempotencyKey: "k"}) { position } }'
    for files in ({"operations": (None, json.dumps({"query": wish})), "map": (None, "{}")}, {"query": (None, wish)}):
        with row.case(sorted(files)):
            answer = http().post(served.graphql, files=files, headers={"Authorization": f"Bearer {ada.token}"})
            assert answer.status_code == 415
    assert ada.ask("{ viewer { accounts { totalCount } } }")["viewer"]["accounts"]["totalCount"] == 0


def test_g12_a_range_of_many_parts_costs_nothing(served: Served, row: Row) -> None:
    """CVE-2025-62727: quadratic time over the parts of a Range header."""
    for count in (2, 100, 1_000, 3_000):
        for path in ("/version", "/livez", "/metrics", "/nope"):
            with row.case((path, count)):
                began = time.process_time()
                answer = http().get(
                    served.url + path, headers={"Range": "bytes=" + ",".join("0-" for _ in range(count))}
                )
                assert answer.status_code in (200, 404, 431, 400)
                assert time.process_time() - began < 0.25


@pytest_asyncio.fixture
async def kit(servers: EmbeddedServers, template: str, tmp_path_factory: Any) -> AsyncIterator[Kit]:
    async with on_its_own_database(servers, template, tmp_path_factory.mktemp("provider")) as made:
        yield made


def resigned(token: str, key: ec.EllipticCurvePrivateKey, claims: dict[str, Any] | None = None, **header: Any) -> str:
    """The provider's own token with another header, signed by whoever has `key`."""
    head = {k: v for k, v in (jwt.get_unverified_header(token) | header).items() if v is not ...}
    body = jwt.decode(token, options={"verify_signature": False}) | (claims or {})
    signed = f"{b64(json.dumps(head).encode())}.{b64(json.dumps(body).encode())}"
    signature = b"" if str(head.get("alg")).lower() == "none" else signature_of(key, signed.encode())
    return f"{signed}.{b64(signature)}"


async def test_g12_the_provider_takes_no_key_from_a_token(kit: Kit, row: Row) -> None:
    """CVE-2026-27962 (`jwk`), CVE-2026-28802 (`none`), CVE-2025-59420 (`crit`), at each endpoint that reads a token."""
    tokens = await kit.tokens()
    access, thief = tokens["access_token"], ec_key("thief")
    forged = {
        "jwk": resigned(access, thief, jwk=jwk_of(thief, None)),
        "jwk and its kid": resigned(access, thief, jwk=jwk_of(thief, "thief"), kid="thief"),
        "jwk without kid": resigned(access, thief, jwk=jwk_of(thief, None), kid=...),
        "jku": resigned(access, thief, jku="https://evil.example/jwks"),
        "crit": resigned(access, thief, crit=["evil"], evil=True),
        "no kid": resigned(access, thief, kid=...),
        "thief": resigned(access, thief),
        **{
            f"alg {alg}": resigned(access, thief, alg=alg)
            for alg in ("none", "None", "NONE", "nOnE", "HS256", "ES384", "")
        },
        "cut": access.rsplit(".", 1)[0] + ".",
        "an ID token": tokens["id_token"],
        "another subject": resigned(access, thief, {"sub": "0b9d3c41-7e58-4a6f-b2c4-8e1f6a2d1931"}),
    }
    for name, token in forged.items():
        with row.case(("userinfo", name)):
            assert (await kit.userinfo(token)).status_code == 401
        with row.case(("revoke", name)):
            await kit.http.post("/revoke", data={"client_id": CLI, "token": token})
            assert (await kit.userinfo(access)).status_code == 200, "and revokes nobody's"
        with row.case(("logout", name)):
            answer = await kit.http.get(
                "/logout", params={"id_token_hint": token, "post_logout_redirect_uri": "https://app.example.test/bye"}
            )
            assert "location" not in answer.headers


async def test_g12_an_id_token_binds_the_access_token_that_came_with_it(kit: Kit, row: Row) -> None:
    """CVE-2026-28498: an unknown hash was as good as the right one. Ours is always there, and always that of its own token."""
    from isthmus.auth.provider.jwts import half_hash

    for _ in range(3):
        kit.http.cookies.clear()
        tokens = await kit.tokens()
        claims = jwt.decode(tokens["id_token"], options={"verify_signature": False})
        with row.case(claims["at_hash"]):
            assert claims["at_hash"] == half_hash(tokens["access_token"])
            assert claims["at_hash"] != half_hash(tokens["access_token"] + "x")
