"""Requests that are signed as TrueLayer has it (`Tl-Signature` 2): a detached JWS, ES512, over method, path, idempotency key and body.

The library is TrueLayer's own. What it is given here is checked when the signer is made: a key that is on no P-521 would be refused by
TrueLayer, in words that do not say so.
"""

from __future__ import annotations

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from isthmus.domain.clock import Clock
from isthmus.integrations.secrets.certificates import CertificateError, Pair, signing_pair
from isthmus.integrations.secrets.sealed_keys import SealedKeys
from isthmus.settings import Settings


class TrueLayerSigner:
    """`key_id`: what TrueLayer calls the public key that was uploaded there. Raises CertificateError."""

    def __init__(self, key_id: str, pair: Pair) -> None:
        if not isinstance(pair.key, ec.EllipticCurvePrivateKey) or not isinstance(pair.key.curve, ec.SECP521R1):
            raise CertificateError(f"{pair.provider}: signing_key is not on the curve P-521, which TrueLayer wants")
        self._key_id = key_id
        self._pem = pair.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())

    def headers(self, path: str, idempotency_key: str, body: bytes) -> dict[str, str]:
        """For a POST of just this body. `path` begins at TrueLayer's host: /v3/payments."""
        import truelayer_signing  # only where something is paid

        signature = (
            truelayer_signing.sign_with_pem(self._key_id, self._pem.decode())
            .set_method(truelayer_signing.HttpMethod.POST)
            .set_path(path)
            .add_header("Idempotency-Key", idempotency_key)
            .set_body(body.decode())
            .sign()
        )
        return {"Idempotency-Key": idempotency_key, "Tl-Signature": signature}


def truelayer_signer(settings: Settings, sealed: SealedKeys, clock: Clock) -> TrueLayerSigner | None:
    """None where no key is set, or its name is not. Raises CertificateError."""
    files, key_id = settings.secrets.certificates.get("truelayer"), settings.banking.truelayer_signing_key_id
    pair = signing_pair("truelayer", files, clock.now(), sealed) if files is not None else None
    return TrueLayerSigner(key_id, pair) if pair is not None and key_id is not None else None
