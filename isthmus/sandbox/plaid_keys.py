"""The keys that Plaid signs its webhooks with, and the signature: a JWT of the body's hash in `Plaid-Verification` (ES256)."""

from __future__ import annotations

import hashlib

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from isthmus.sandbox.answers import World, base64url
from isthmus.sandbox.plaid_errors import Body, PlaidError


class SigningKeys:
    """Kept in the book. The newest signs."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._book = world.book

    def published(self, key_id: str) -> Body:
        """Its JWK. Raises PlaidError where there is none of that id."""
        kept = self._book.get("plaid.key", key_id)
        if kept is None:
            raise PlaidError("INVALID_INPUT", "INVALID_WEBHOOK_VERIFICATION_KEY_ID", "invalid key_id provided")
        jwk: Body = kept["jwk"]
        return jwk

    def rotate(self) -> str:
        """A new signing key; the one before is said to have expired. Returns the new one's id."""
        now = int(self._world.clock.now().timestamp())
        for kid, kept in self._book.all("plaid.key").items():
            kept["jwk"]["expired_at"] = kept["jwk"]["expired_at"] or now
            self._book.put("plaid.key", kid, kept)
        key = ec.generate_private_key(ec.SECP256R1())
        kid = self._world.token("")[:32]
        numbers = key.public_key().public_numbers()
        jwk = {
            "alg": "ES256",
            "crv": "P-256",
            "kid": kid,
            "kty": "EC",
            "use": "sig",
            "x": base64url(numbers.x, 32),
            "y": base64url(numbers.y, 32),
            "created_at": now,
            "expired_at": None,
        }
        pem = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        self._book.put("plaid.key", kid, {"jwk": jwk, "pem": pem.decode()})
        self._book.set_fact("plaid.kid", kid)
        return kid

    def sign(self, body: bytes) -> dict[str, str]:
        """Plaid-Verification: a JWT of the body's hash, by the key whose id it names."""
        kid = self._book.fact("plaid.kid") or self.rotate()
        kept = self._book.get("plaid.key", kid)
        assert kept is not None, "it is the newest"
        claims = {
            "iat": int(self._world.clock.now().timestamp()),
            "request_body_sha256": hashlib.sha256(body).hexdigest(),
        }
        return {"Plaid-Verification": jwt.encode(claims, kept["pem"], algorithm="ES256", headers={"kid": kid})}
