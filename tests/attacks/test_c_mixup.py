"""Rows C4 and C5: an answer of another issuer, of another sign-in, or for somebody else."""

from __future__ import annotations

from typing import Any

import pytest

from isthmus.auth.sign_in import SignInFailed, sign_in
from isthmus.auth.tokens import IssuerUnavailable
from tests.attacks.count import Row
from tests.auth.fake_issuer import ISSUER as TRUSTED
from tests.auth.fake_issuer import FakeIssuer, minted
from tests.auth.test_sign_in import API, EMAIL, ISSUER, PASSWORD, Provider
from tests.auth.test_tokens import verifying

#: Names that look like the issuer's, to someone who compares carelessly.
LOOKALIKES = (
    f"{ISSUER}.evil.example", f"{ISSUER}/evil", f"{ISSUER}:443", f"{ISSUER}?x", f"{ISSUER}#x", f"{ISSUER}//", f" {ISSUER}", f"{ISSUER} ",
    ISSUER.upper(), ISSUER.replace("https", "http"), ISSUER[:-1], ISSUER.replace("issuer", "issυer"), "https://evil.example", "", "null",
    f"{ISSUER}\x00", f"{ISSUER},https://evil.example", ISSUER.replace("https://", "//"), ISSUER.replace("https://", ""),
)  # fmt: skip


async def refused(provider: Provider) -> str:
    """Also: whoever bends the answer gets no code redeemed, and nothing is sent to anyone but the API and its issuer."""
    async with provider.http() as http:
        with pytest.raises(SignInFailed) as caught:
            await sign_in(API, EMAIL, PASSWORD, http=http)
    assert all(url.startswith((f"{API}/", f"{ISSUER}/")) for _, url in provider.seen)
    return str(caught.value)


def redeemed(provider: Provider) -> bool:
    return ("POST", f"{ISSUER}/token") in provider.seen


async def test_c4_an_answer_of_another_issuer_is_not_redeemed(row: Row) -> None:
    assert (await _good()).access_token
    for iss in (None, f"{ISSUER}/", *LOOKALIKES):
        with row.case(iss):
            provider = Provider(answer={"iss": iss})
            assert "another issuer" in await refused(provider)
            assert not redeemed(provider)


async def test_c4_a_document_about_another_issuer_is_not_followed(row: Row) -> None:
    issuers: list[Any] = [None, 1, [ISSUER], {}, *LOOKALIKES]
    for issuer in issuers:
        with row.case(issuer):
            provider = Provider(document={"issuer": issuer})
            assert "another issuer" in await refused(provider)
            assert provider.passwords == []


async def test_c4_an_api_that_describes_another_api_is_not_believed(row: Row) -> None:
    others = [name.replace("issuer", "api") for name in LOOKALIKES]
    # Compared by origin: a path, a query, blanks around it or another case are still this API.
    named_otherwise = [
        name for name in others if not name.lower().strip(" \0").startswith((f"{API}/", f"{API}?", f"{API}#"))
    ]
    for named in (None, 1, [API], *(name for name in named_otherwise if name.lower().strip(" \0") != API)):
        with row.case(named):
            provider = Provider(resource={"resource": named})
            await refused(provider)
            assert provider.passwords == []


async def test_c4_the_password_goes_to_the_issuers_own_origin_only(row: Row) -> None:
    places = ("https://evil.example/take", "//evil.example/take", f"{ISSUER}.evil.example/take", "http://issuer.example/x",
              "https://issuer.example@evil.example/x", "https://issuer.example:8443/x", "\\\\evil.example\\x")  # fmt: skip
    for place in places:
        with row.case(place):
            provider = Provider(form_action=place)
            await refused(provider)
            assert provider.passwords == []
    no_places: list[Any] = [
        None,
        1,
        "",
        "http://issuer.example/x",
        "ftp://issuer.example/x",
        "javascript:x",
        "/x",
        "https://",
    ]
    for name in ("authorization_endpoint", "token_endpoint"):
        for no_place in no_places:
            with row.case((name, no_place)):
                provider = Provider(document={name: no_place})
                await refused(provider)
                assert provider.passwords == []


async def test_c4_keys_come_from_the_issuer_that_is_configured(row: Row, monkeypatch: pytest.MonkeyPatch) -> None:
    """The other side, where tokens are checked: a document about somebody else brings no keys at all."""
    monkeypatch.setattr("isthmus.auth.issuer_keys.ATTEMPTS", 1)
    async with verifying() as verifier:
        await verifier.verify(minted())
    issuers: list[Any] = [name for name in LOOKALIKES if name != TRUSTED]
    documents = [{"issuer": issuer} for issuer in (None, 1, [TRUSTED], *issuers)]
    documents += [
        {"jwks_uri": uri}
        for uri in (None, 1, "", "http://evil.example/jwks", "http://issuer.example/jwks", "file:///etc/passwd",
                    "gopher://issuer.example/", "http://127.0.0.1/jwks", "http://169.254.169.254/jwks", "/jwks", "https://")
    ]  # fmt: skip
    for document in documents:
        with row.case(document):
            async with verifying(FakeIssuer(document=document)) as verifier:
                assert not verifier.ready
                with pytest.raises(IssuerUnavailable):
                    await verifier.verify(minted())


async def _good() -> Any:
    async with Provider().http() as http:
        return await sign_in(API, EMAIL, PASSWORD, http=http)


class Echo(Provider):
    """Bends the state that was really sent."""

    def __init__(self, bend: Any) -> None:
        super().__init__()
        self._bend = bend

    def _back(self) -> Any:
        self.answer = {"state": self._bend(self.asked["state"])}
        return super()._back()


async def test_c5_a_state_that_is_not_this_sign_ins_is_not_redeemed(row: Row) -> None:
    bends: dict[str, Any] = {
        "missing": lambda state: None,
        "empty": lambda state: "",
        "another's": lambda state: "c3Vic2Vzc2lvbi1zdGF0ZQ",
        "longer": lambda state: state + "A",
        "shorter": lambda state: state[:-1],
        "other case": lambda state: state.swapcase(),
        "blank": lambda state: f" {state}",
        "NUL": lambda state: f"{state}\0",
        "twice": lambda state: state * 2,
        "not ASCII": lambda state: "é",
    }
    for place in range(22):
        bends[f"place {place}"] = lambda state, p=place: state[:p] + ("A" if state[p] != "A" else "B") + state[p + 1 :]
    for name, bend in bends.items():
        with row.case(name):
            provider = Echo(bend)
            assert "another sign-in" in await refused(provider)
            assert not redeemed(provider)


async def test_c5_states_and_nonces_are_drawn_anew_and_long(row: Row) -> None:
    seen: set[str] = set()
    for _ in range(20):
        provider = Provider()
        async with provider.http() as http:
            await sign_in(API, EMAIL, PASSWORD, http=http)
        for name in ("state", "nonce", "code_challenge"):
            with row.case(name):
                assert provider.asked[name] not in seen
                assert len(provider.asked[name]) >= 22, "128 bits"
                seen.add(provider.asked[name])


async def test_c5_an_id_token_of_another_sign_in_is_refused(row: Row) -> None:
    nonces: list[Any] = [None, "", "another", 1, [], ["nonce"], {}, True, "x" * 10_000]
    for nonce in nonces:
        with row.case(("nonce", nonce)):
            assert "another sign-in" in await refused(Provider(id_claims={"nonce": nonce}))
    audiences: list[Any] = [None, "", "another", [], ["another"], {}, 1, "isthmus-cli ", "ISTHMUS-CLI"]
    for audience in audiences:
        with row.case(("aud", audience)):
            assert "another sign-in" in await refused(Provider(id_claims={"aud": audience}))
    for iss in LOOKALIKES:
        with row.case(("iss", iss)):
            assert "another sign-in" in await refused(Provider(id_claims={"iss": iss}))
    tokens: list[Any] = [
        None,
        "",
        "x",
        "a.b",
        "a.b.c.d",
        "..",
        "e30.e30",
        "e30..e30",
        "e30.W10.e30",
        1,
        {},
        "e30.bnVsbA.x",
    ]
    for token in tokens:
        with row.case(("id_token", token)):
            await refused(Provider(token={"id_token": token}))
