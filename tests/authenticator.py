"""A device that signs, as its owner has it in hand (WebAuthn, ES256, no attestation)."""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
from dataclasses import dataclass, field
from typing import Any

import cbor2
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

ORIGIN, RP_ID = "https://app.bank.example", "bank.example"
PRESENT, VERIFIED, WITH_KEY = 0x01, 0x04, 0x40


def b64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


@dataclass
class Authenticator:
    """What a test may turn: where it believes to be, what it says of its owner, and how it counts (`step` 0: never)."""

    origin: str = ORIGIN
    rp_id: str = RP_ID
    flags: int = PRESENT | VERIFIED
    counter: int = 0
    step: int = 1
    within: str | None = None
    user_handle: str | None = None
    key: ec.EllipticCurvePrivateKey = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))
    credential: bytes = field(default_factory=lambda: secrets.token_bytes(32))

    def create(self, options: str) -> str:
        point = self.key.public_key().public_numbers()
        cose = cbor2.dumps({1: 2, 3: -7, -1: 1, -2: point.x.to_bytes(32, "big"), -3: point.y.to_bytes(32, "big")})
        attested = bytes(16) + len(self.credential).to_bytes(2, "big") + self.credential + cose
        data = self._data(self.flags | WITH_KEY) + attested
        attestation = cbor2.dumps({"fmt": "none", "attStmt": {}, "authData": data})
        return self._answer(attestationObject=b64(attestation), clientDataJSON=b64(self._client("create", options)))

    def get(self, options: str) -> str:
        self.counter += self.step
        data, client = self._data(self.flags), self._client("get", options)
        signature = self.key.sign(data + hashlib.sha256(client).digest(), ec.ECDSA(hashes.SHA256()))
        more = {} if self.user_handle is None else {"userHandle": self.user_handle}
        return self._answer(authenticatorData=b64(data), clientDataJSON=b64(client), signature=b64(signature), **more)

    def _data(self, flags: int) -> bytes:
        return hashlib.sha256(self.rp_id.encode()).digest() + bytes([flags]) + self.counter.to_bytes(4, "big")

    def _client(self, kind: str, options: str) -> bytes:
        told: dict[str, Any] = {
            "type": f"webauthn.{kind}",
            "challenge": json.loads(options)["challenge"],
            "origin": self.origin,
            "crossOrigin": self.within is not None,
        }
        return json.dumps(told | ({"topOrigin": self.within} if self.within else {})).encode()

    def _answer(self, **response: str) -> str:
        name = b64(self.credential)
        return json.dumps({"id": name, "rawId": name, "type": "public-key", "response": response})
