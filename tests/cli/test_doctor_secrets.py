"""The doctor looks at what is kept secret: certificates that end or fit no key, keys in plain text, and a vault that is away or refuses."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from isthmus.cli.doctor import Finding
from isthmus.cli.doctor_secrets import examine_secrets
from isthmus.integrations.secrets.file_master_key import FileMasterKey
from isthmus.settings import load_settings
from tests.cli.conftest import RunIsthmus
from tests.integrations.secrets.openbao import OpenBao, running
from tests.integrations.secrets.test_certificates import KEY, OTHER, certificate_pem, key_pem

NOW, DAY = datetime.now(UTC), timedelta(days=1)


async def examined(data_dir: Path, **secrets: Any) -> dict[str, Finding]:
    found = await examine_secrets(load_settings(data_dir=data_dir, secrets=secrets))
    assert all((one.status == "ok") == (one.remedy == "") for one in found), found
    return {one.check: one for one in found}


def files(folder: Path, *, days: float = 90, key: ec.EllipticCurvePrivateKey = KEY) -> dict[str, Any]:
    (folder / "qwac.pem").write_bytes(certificate_pem(KEY, NOW + days * DAY, NOW - 100 * DAY))
    (folder / "qwac.key").write_bytes(key_pem(key))
    return {"client_certificate": str(folder / "qwac.pem"), "client_key": str(folder / "qwac.key")}


@pytest.mark.parametrize(
    ("days", "status", "found"),
    [
        (90.5, "ok", "fits its key, 90 days left"),
        (20.5, "warning", "fits its key, 20 days left"),
        (3.5, "problem", "fits its key, 3 days left"),
        (-1.0, "problem", "truelayer: client_certificate (qwac.pem) expired at"),
    ],
)
async def test_certificates_are_told_by_how_long_they_last(
    tmp_path: Path, days: float, status: str, found: str
) -> None:
    told = await examined(tmp_path, certificates={"truelayer": files(tmp_path, days=days)})

    one = told["truelayer client certificate"]
    assert one.status == status
    assert one.found.startswith(found)


async def test_what_is_missing_or_fits_no_key_is_a_problem(tmp_path: Path) -> None:
    told = await examined(tmp_path, certificates={"yapily": files(tmp_path, key=OTHER)})
    assert told["yapily client certificate"].status == "problem"
    assert "is not the key of the certificate" in told["yapily client certificate"].found
    missing = {"signing_key": str(tmp_path / "none.key")}
    told = await examined(tmp_path, certificates={"yapily": missing})
    assert "signing_key (none.key) cannot be read" in told["yapily signing certificate"].found


async def test_a_key_in_plain_text_is_warned_of_until_it_is_sealed(isthmus: RunIsthmus, tmp_path: Path) -> None:
    certificates = files(tmp_path)
    data_dir = tmp_path / "data"
    told = await examined(data_dir, certificates={"plaid": certificates})
    warned = told["plaid client key"]
    assert (warned.status, warned.found) == ("warning", "qwac.key is in plain text")

    FileMasterKey.load_or_create(data_dir / "secrets" / "master.key")
    sealed = isthmus("secrets", "seal", certificates["client_key"], "--provider", "plaid", "--purpose", "client")
    assert sealed.returncode == 0, sealed.stderr
    out = tmp_path / "qwac.key.sealed"
    assert out.stat().st_mode & 0o077 == 0
    assert b"PRIVATE" not in out.read_bytes()
    told = await examined(data_dir, certificates={"plaid": certificates | {"client_key": str(out)}})
    assert "plaid client key" not in told
    assert told["plaid client certificate"].status == "ok"
    told = await examined(data_dir, certificates={"yapily": certificates | {"client_key": str(out)}})
    assert "sealed for another master key, provider or purpose" in told["yapily client certificate"].found

    for wrong, purpose in ((tmp_path / "qwac.pem", "client"), (tmp_path / "none", "client"), (out, "both")):
        refused = isthmus("secrets", "seal", str(wrong), "--provider", "plaid", "--purpose", purpose)
        assert (refused.returncode, refused.stdout) == (1, ""), refused.stderr


def test_the_report_has_it(isthmus: RunIsthmus, tmp_path: Path) -> None:
    given = json.dumps({"truelayer": files(tmp_path, days=-1)})
    done = isthmus("doctor", "--json", ISTHMUS_SECRETS__CERTIFICATES=given)

    checks = {one["check"]: one for one in json.loads(done.stdout)["checks"]}
    assert done.returncode == 1
    assert checks["truelayer client certificate"]["status"] == "problem"
    assert checks["master key"]["status"] == "ok"


async def test_the_master_keys_file(tmp_path: Path) -> None:
    path = tmp_path / "secrets" / "master.key"
    FileMasterKey.load_or_create(path)
    assert (await examined(tmp_path))["master key"].status == "ok"
    path.chmod(0o644)
    assert (await examined(tmp_path))["master key"].remedy == f"chmod 600 {path}"
    path.write_text("rotten")
    path.chmod(0o600)
    assert (await examined(tmp_path))["master key"].status == "problem"


@pytest.fixture(scope="module")
def bao(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenBao]:
    with running(tmp_path_factory.mktemp("openbao")) as server:
        yield server


async def test_a_vault_is_asked_for_its_key_with_our_token(bao: OpenBao, tmp_path: Path) -> None:
    at = {"provider": "vault", "vault_url": bao.url, "vault_token": bao.token}

    async def told(**more: Any) -> Finding:
        return (await examined(tmp_path, **(at | more)))["vault"]

    good = await told(vault_key=bao.key("doctors"))
    assert (good.status, good.found) == ("ok", "answers, the key doctors is there (versions 1 to 1)")
    assert "derived=true" in (await told(vault_key=bao.key("plain", derived=False))).remedy
    assert "make the key nowhere" in (await told(vault_key="nowhere")).remedy
    refused = await told(vault_token="made-up")
    assert (refused.status, refused.found[:22]) == ("problem", "its token is not valid")
    short = bao.client.auth.token.create(ttl="10m", policies=["root"])["auth"]["client_token"]
    assert (await told(vault_key="doctors", vault_token=short)).status == "warning"


async def test_a_vault_that_is_away_is_a_problem(tmp_path: Path) -> None:
    told = await examined(tmp_path, provider="vault", vault_url="http://127.0.0.1:1", vault_token="t")

    assert told["vault"].status == "problem"
    assert "see that it runs" in told["vault"].remedy
