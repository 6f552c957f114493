"""What signs payments: the signer against the sandbox's own check, with the key that `up` makes and the sandbox is given."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from isthmus.domain.clock import SystemClock
from isthmus.integrations.banking.signing import TrueLayerSigner, truelayer_signer
from isthmus.integrations.secrets.certificates import CertificateError
from isthmus.integrations.secrets.file_master_key import FileMasterKey
from isthmus.integrations.secrets.sealed_keys import SealedKeys, is_sealed
from isthmus.runtime.data_directory import DataDirectory
from isthmus.runtime.plan import make_plan
from isthmus.runtime.sandbox_keys import ensure_signing_key, register
from isthmus.settings import Settings, load_settings
from tests.sandbox.running import Sandbox, at_sandbox, sandbox_running
from tests.sandbox.test_truelayer_payments import wish

CLIENT = {"client_id": "sandbox-truelayer", "client_secret": "sandbox-truelayer-secret"}


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with sandbox_running(history_days=1) as running:
        yield running


def paid(sandbox: Sandbox, signer: TrueLayerSigner, *, sent: bytes | None = None, path: str = "/v3/payments") -> Any:
    form = CLIENT | {"grant_type": "client_credentials", "scope": "payments"}
    token = sandbox.http.post(f"{sandbox.url}/truelayer/auth/connect/token", data=form).json()["access_token"]
    body = json.dumps(wish()).encode()
    headers = signer.headers(path, uuid4().hex, body) | {"Authorization": f"Bearer {token}"}
    return httpx.post(f"{sandbox.url}/truelayer/api/v3/payments", content=sent or body, headers=headers)


def of_the_plan(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Settings]:
    """Where `up` puts the key, and the settings that it gives to its processes."""
    data = DataDirectory(data_dir)
    data.make()
    with data.lock():
        plan = make_plan(load_settings(data_dir=data_dir), data)
    given = plan.apps[0].environment
    for name in ("ISTHMUS_SECRETS__CERTIFICATES", "ISTHMUS_BANKING__TRUELAYER_SIGNING_KEY_ID"):
        monkeypatch.setenv(name, given[name])
    assert plan.signing_key is not None
    return plan.signing_key, load_settings(data_dir=data_dir)


async def test_the_key_that_up_makes_signs_what_the_sandbox_takes_and_lies_there_as_ciphertext(
    sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, settings = of_the_plan(tmp_path, monkeypatch)

    public = await ensure_signing_key(settings, "", file)
    await register(sandbox.url, public)

    assert await ensure_signing_key(settings, "", file) == public, "it is made once"
    assert is_sealed(file.read_bytes())
    assert file.stat().st_mode & 0o077 == 0
    keys = SealedKeys(FileMasterKey(settings.master_key_file))
    signer = truelayer_signer(settings, keys, SystemClock())
    assert signer is not None
    made = paid(sandbox, signer)
    assert (made.status_code, made.json()["status"]) == (201, "authorization_required"), made.text
    assert paid(sandbox, signer, sent=json.dumps(wish(amount_in_minor=99_999)).encode()).status_code == 401
    assert paid(sandbox, signer, path="/v3/payouts").status_code == 401
    file.write_bytes(b"no key")
    assert await ensure_signing_key(settings, "", file) != public, "one that does not open gives way"


def test_up_makes_no_key_where_the_banks_are_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ISTHMUS_BANKING__YAPILY_APPLICATION", "ours")
    data = DataDirectory(tmp_path)
    data.make()
    with data.lock():
        plan = make_plan(load_settings(data_dir=tmp_path), data)

    assert plan.signing_key is None
    assert "ISTHMUS_BANKING__TRUELAYER_SIGNING_KEY_ID" not in plan.apps[0].environment


def test_a_key_on_another_curve_is_refused_in_our_words(sandbox: Sandbox, tmp_path: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    file = tmp_path / "p256.key"
    file.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    told = at_sandbox(sandbox, truelayer_signing_key_id="k")
    settings = load_settings(
        data_dir=tmp_path, banking=told, secrets={"certificates": {"truelayer": {"signing_key": file}}}
    )
    keys = SealedKeys(FileMasterKey.load_or_create(tmp_path / "master.key"))

    with pytest.raises(CertificateError, match="truelayer: signing_key is not on the curve P-521"):
        truelayer_signer(settings, keys, SystemClock())
    without = load_settings(data_dir=tmp_path, banking=told)
    assert truelayer_signer(without, keys, SystemClock()) is None
