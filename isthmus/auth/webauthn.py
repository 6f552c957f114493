"""WebAuthn: what a device is asked with, and whether what it answers is right. Nothing is kept here.

The library keeps no state either: the same assertion is right for ever. That it counts once is the challenge's, and that a device
counts up is its stream's (`domain/sca_answers.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from webauthn import (
    generate_authentication_options,
    generate_registration_options,
    options_to_json,
    verify_authentication_response,
    verify_registration_response,
)
from webauthn.helpers import (
    base64url_to_bytes,
    bytes_to_base64url,
    parse_authentication_credential_json,
    parse_client_data_json,
    parse_registration_credential_json,
)
from webauthn.helpers.cose import COSEAlgorithmIdentifier
from webauthn.helpers.structs import (
    AuthenticatorSelectionCriteria,
    PublicKeyCredentialDescriptor,
    ResidentKeyRequirement,
    UserVerificationRequirement,
)

from isthmus.domain.authenticators import ANSWER_LENGTH_MAX, Credential

_TIMEOUT_MS = 300_000
_ALGORITHMS = [
    COSEAlgorithmIdentifier.EDDSA,
    COSEAlgorithmIdentifier.ECDSA_SHA_256,
    COSEAlgorithmIdentifier.RSASSA_PKCS1_v1_5_SHA_256,
]
#: A credential's id has 1 023 bytes at most (WebAuthn, 4); in base64url a third more.
_ID_LENGTH_MAX = 1_364


class Refused(Exception):
    pass


class WebAuthn:
    """`rp_id`: the host that devices know us by; `origins`: where a person may be asked. User verification is always required: the device
    itself is one factor, and what unlocks it another (RTS 2018/389 Art. 4)."""

    def __init__(self, rp_id: str, rp_name: str, origins: Sequence[str]) -> None:
        self._rp_id = rp_id
        self._rp_name = rp_name
        self._origins = list(origins)

    def creation_options(self, challenge: bytes, owner: UUID, name: str, known: Sequence[str]) -> str:
        made = generate_registration_options(
            rp_id=self._rp_id,
            rp_name=self._rp_name,
            user_id=owner.bytes,
            user_name=name,
            user_display_name=name,
            challenge=challenge,
            timeout=_TIMEOUT_MS,
            authenticator_selection=AuthenticatorSelectionCriteria(
                resident_key=ResidentKeyRequirement.PREFERRED, user_verification=UserVerificationRequirement.REQUIRED
            ),
            exclude_credentials=_descriptors(known),
            supported_pub_key_algs=_ALGORITHMS,
        )
        return options_to_json(made)

    def request_options(self, challenge: bytes, known: Sequence[str]) -> str:
        made = generate_authentication_options(
            rp_id=self._rp_id,
            challenge=challenge,
            timeout=_TIMEOUT_MS,
            allow_credentials=_descriptors(known),
            user_verification=UserVerificationRequirement.REQUIRED,
        )
        return options_to_json(made)

    def registered(self, answer: str, challenge: bytes) -> Credential | None:
        try:
            given = parse_registration_credential_json(_fit(answer))
            _in_our_own_page(given.response.client_data_json)
            verified = verify_registration_response(
                credential=given,
                expected_challenge=challenge,
                expected_rp_id=self._rp_id,
                expected_origin=self._origins,
                require_user_verification=True,
                supported_pub_key_algs=_ALGORITHMS,
            )
        except Exception:  # noqa: BLE001 - see below
            # A stranger's bytes go through JSON, base64, CBOR, COSE and ASN.1, each with errors of its own: all of them are one No.
            return None
        return Credential(
            bytes_to_base64url(verified.credential_id),
            bytes_to_base64url(verified.credential_public_key),
            verified.sign_count,
        )

    def credential_id(self, answer: str) -> str | None:
        try:
            found = parse_authentication_credential_json(_fit(answer)).id
        except Exception:  # noqa: BLE001 - as above
            return None
        return found if isinstance(found, str) and found.isascii() and 0 < len(found) <= _ID_LENGTH_MAX else None

    def signed(self, answer: str, challenge: bytes, credential: Credential, owner: UUID) -> int | None:
        try:
            given = parse_authentication_credential_json(_fit(answer))
            _in_our_own_page(given.response.client_data_json)
            if given.id != credential.credential_id:
                raise Refused("of another credential")
            if given.response.user_handle not in (None, b"", owner.bytes):
                raise Refused("of another person")
            verified = verify_authentication_response(
                credential=given,
                expected_challenge=challenge,
                expected_rp_id=self._rp_id,
                expected_origin=self._origins,
                credential_public_key=base64url_to_bytes(credential.public_key),
                credential_current_sign_count=credential.counter,
                require_user_verification=True,
            )
        except Exception:  # noqa: BLE001 - as above
            return None
        return verified.new_sign_count


def _fit(answer: str) -> str:
    if len(answer) > ANSWER_LENGTH_MAX:
        raise Refused("too long")
    return answer


def _in_our_own_page(client_data: bytes) -> None:
    """Not in a frame of somebody else's page, which could show another payment around it."""
    if parse_client_data_json(client_data).cross_origin:
        raise Refused("asked within another's page")


def _descriptors(known: Sequence[str]) -> list[PublicKeyCredentialDescriptor]:
    return [PublicKeyCredentialDescriptor(id=base64url_to_bytes(one)) for one in known]
