"""TrueLayer's webhooks: `Tl-Signature` over path, timestamp and body (ES512), by a key that is published at the `jku` it names.

Source: docs.truelayer.com and TrueLayer/truelayer-signing. Keys follow from the seed; the one before stays published after a rotation.
"""

from __future__ import annotations

import hashlib
from urllib.parse import urlsplit

import orjson
import truelayer_signing
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from isthmus.sandbox.answers import World, base64url, json_response
from isthmus.sandbox.clock import iso
from isthmus.sandbox.truelayer_errors import Body

_TURNS = "truelayer.key"


class TrueLayerWebhooks:
    """`routes` stand for webhooks.truelayer.com."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._keys: dict[int, ec.EllipticCurvePrivateKey] = {}
        self.routes = [Route("/truelayer/.well-known/jwks", self._published, methods=["GET"])]

    def tell(self, kind: str, more: Body) -> None:
        url = self._world.webhook("truelayer")
        if url is None:
            return
        body = {"type": kind, "event_id": self._world.uuid(), "event_version": 1, **more}
        path = urlsplit(url).path
        self._world.webhooks.send(url, orjson.dumps(body), lambda raw: self._sign(path, raw))

    def rotate(self) -> str:
        """Returns the new key's id."""
        self._world.book.set_fact(_TURNS, str(self._turn + 1))
        return self._kid(self._turn)

    @property
    def _turn(self) -> int:
        return int(self._world.book.fact(_TURNS) or 0)

    def _sign(self, path: str, body: bytes) -> dict[str, str]:
        pem = self._key(self._turn).private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        at = iso(self._world.clock.now())
        signature: str = (
            truelayer_signing.sign_with_pem(self._kid(self._turn), pem.decode())
            .set_method(truelayer_signing.HttpMethod.POST)
            .set_path(path)
            .add_header("X-TL-Webhook-Timestamp", at)
            .set_jku(f"{self._world.public_url}/truelayer/.well-known/jwks")
            .set_body(body.decode())
            .sign()
        )
        return {"X-TL-Webhook-Timestamp": at, "Tl-Signature": signature}

    async def _published(self, _: Request) -> Response:
        turns = range(max(0, self._turn - 1), self._turn + 1)
        return json_response({"keys": [self._jwk(turn) for turn in reversed(turns)]})

    def _jwk(self, turn: int) -> Body:
        numbers = self._key(turn).public_key().public_numbers()
        named = {"kty": "EC", "crv": "P-521", "alg": "ES512", "use": "sig", "kid": self._kid(turn)}
        return {**named, "x": base64url(numbers.x, 66), "y": base64url(numbers.y, 66)}

    def _kid(self, turn: int) -> str:
        return self._world.seeding.draw_id("truelayer", "kid", str(turn))

    def _key(self, turn: int) -> ec.EllipticCurvePrivateKey:
        if turn not in self._keys:
            # Below 2^512, and so below the order of the curve.
            secret = hashlib.sha512(f"{self._world.seeding.seed}|truelayer|{turn}".encode()).digest()
            self._keys[turn] = ec.derive_private_key(int.from_bytes(secret, "big"), ec.SECP521R1())
        return self._keys[turn]
