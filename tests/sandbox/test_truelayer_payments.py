"""TrueLayer's payments v3, signed with TrueLayer's own library, over HTTP: what they become, and what is refused."""

from __future__ import annotations

import json
import threading
import time
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any
from uuid import uuid4

import httpx
import pytest
import truelayer_signing
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from isthmus.sandbox.app import create_sandbox_app
from isthmus.sandbox.truelayer_auth import CLIENT_ID, CLIENT_SECRET
from tests.sandbox.running import REDIRECT, SEED, Inbox, Sandbox, serving

KID = "client-key-1"
POST = truelayer_signing.HttpMethod.POST
BOB = {
    "type": "external_account",
    "account_holder_name": "Bob",
    "account_identifier": {"type": "sort_code_account_number", "sort_code": "112233", "account_number": "12345678"},
    "reference": "Rent",
}
TO_US = {"type": "merchant_account", "merchant_account_id": "sandbox-merchant-gbp"}
AT_HARBOUR = {"type": "preselected", "provider_id": "uk-ob-harbour"}
FLOW = {"provider_selection": {}, "redirect": {"return_uri": REDIRECT}}


def key_pair(curve: ec.EllipticCurve | None = None) -> tuple[str, str]:
    """(private, public), as PEM."""
    key = ec.generate_private_key(curve or ec.SECP521R1())
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    public = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    return private.decode(), public.decode()


def wish(**other: Any) -> dict[str, Any]:
    method = {"type": "bank_transfer", "provider_selection": AT_HARBOUR, "beneficiary": BOB}
    user = {"name": "Jo Hartley", "email": "jo@example.com"}
    return {"amount_in_minor": 1234, "currency": "GBP", "payment_method": method, "user": user} | other


def method(**other: Any) -> dict[str, Any]:
    return {"payment_method": wish()["payment_method"] | other}


@dataclass
class Client:
    """What an app does: a token of its own, and a signature under everything that it posts."""

    sandbox: Sandbox
    private: str = field(default="", repr=False)
    token: str = ""

    def __post_init__(self) -> None:
        self.private, public = key_pair()
        self.sandbox.tell("facts", name="truelayer.step_s", value="300")  # nothing happens while we look
        self.sandbox.tell("actions", action="truelayer.signing_key", kid=KID, public_key=public)
        form = {"grant_type": "client_credentials", "scope": "payments", "client_id": CLIENT_ID}
        answer = self.sandbox.http.post(
            f"{self.sandbox.url}/truelayer/auth/connect/token", data={**form, "client_secret": CLIENT_SECRET}
        )
        self.token = answer.json()["access_token"]

    def sign(self, path: str, body: str, key: str, *, kid: str = KID, private: str = "") -> str:
        signer = truelayer_signing.sign_with_pem(kid, private or self.private).set_method(POST).set_path(path)
        signature: str = signer.add_header("Idempotency-Key", key).set_body(body).sign()
        return signature

    def post(self, path: str, body: dict[str, Any], key: str = "", **headers: str) -> httpx.Response:
        key, raw = key or str(uuid4()), json.dumps(body)
        sent = {
            "Authorization": f"Bearer {self.token}",
            "Idempotency-Key": key,
            "Tl-Signature": self.sign(path, raw, key),
            "Content-Type": "application/json",
        } | headers
        sent = {name: value for name, value in sent.items() if value}
        return httpx.post(f"{self.sandbox.url}/truelayer/api{path}", content=raw, headers=sent, timeout=20)

    def create(self, **other: Any) -> str:
        answer = self.post("/v3/payments", wish(**other))
        assert (answer.status_code, answer.json()["status"]) == (201, "authorization_required"), answer.text
        payment: str = answer.json()["id"]
        return payment

    def begin(self, payment: str) -> str:
        """The bank's page."""
        answer = self.post(f"/v3/payments/{payment}/authorization-flow", FLOW)
        assert answer.status_code == 200, answer.text
        following = answer.json()["authorization_flow"]["actions"]["next"]
        assert (answer.json()["status"], following["type"]) == ("authorizing", "redirect")
        uri: str = following["uri"]
        return uri

    def get(self, payment: str) -> dict[str, Any]:
        headers = {"Authorization": f"Bearer {self.token}"}
        answer = httpx.get(f"{self.sandbox.url}/truelayer/api/v3/payments/{payment}", headers=headers)
        assert answer.status_code == 200, answer.text
        told: dict[str, Any] = answer.json()
        return told

    def approve(self, payment: str, **other: Any) -> str:
        """Where the person comes back to."""
        back: str = self.sandbox.approve(self.begin(payment), **other).headers["location"]
        return back

    def later(self, seconds: float = 300) -> None:
        self.sandbox.tell("clock", advance_s=seconds)


@pytest.fixture
def client(sandbox: Sandbox) -> Client:
    return Client(sandbox)


def told(inbox: Inbox, count: int) -> dict[str, dict[str, Any]]:
    """By type: what is sent at the same time may change its order."""
    return {one["type"]: one for one in inbox.bodies(count)}


def test_a_payment_is_approved_at_the_bank_and_executed_and_the_money_moves(telling: Sandbox, inbox: Inbox) -> None:
    client = Client(telling)
    before = {one["id"]: one["transferred"] for one in telling.accounts("harbour")}
    payment = client.create(metadata={"order": "7"})
    assert client.approve(payment) == f"{REDIRECT}?payment_id={payment}"
    client.later()
    after = client.get(payment)
    assert (after["status"], after["metadata"]) == ("executed", {"order": "7"})
    account = after["payment_source"]["id"]
    (paid,) = [one for one in telling.accounts("harbour") if one["id"] == account]
    assert Decimal(before[account]) - Decimal(paid["transferred"]) == Decimal("12.34")
    events = told(inbox, 2)
    assert set(events) == {"payment_authorized", "payment_executed"}
    executed = events["payment_executed"]
    assert (executed["payment_id"], executed["event_version"]) == (payment, 1)
    assert executed["executed_at"] == after["executed_at"]
    assert len({one["event_id"] for one in events.values()}) == 2
    client.later(3_000)
    assert client.get(payment)["status"] == "executed", "only the client's own account settles"


def test_webhooks_verify_with_the_published_key_over_path_timestamp_and_body(telling: Sandbox, inbox: Inbox) -> None:
    client = Client(telling)
    client.post(f"/v3/payments/{client.create()}/actions/cancel", {})
    telling.tell("actions", action="truelayer.rotate_key")
    client.post(f"/v3/payments/{client.create()}/actions/cancel", {})
    kids = set()
    for headers, body in inbox.wait(2):
        signature = headers["tl-signature"]
        header = truelayer_signing.extract_jws_header(signature)
        assert header.jku == f"{telling.url}/truelayer/.well-known/jwks"
        keys = telling.http.get(header.jku).json()
        for changed in (False, True):
            verifier = truelayer_signing.verify_with_jwks(keys, header).set_method(POST).set_path("/webhooks/truelayer")
            verifier = verifier.add_headers(headers).add_required_header("X-TL-Webhook-Timestamp")
            verifier = verifier.set_body(body.decode() + " " * changed)
            if changed:
                with pytest.raises(truelayer_signing.TlSigningException):
                    verifier.verify(signature)
            else:
                verifier.verify(signature)
        kids.add(header.kid)
    assert len(kids) == 2


def test_the_keys_follow_from_the_seed(sandbox: Sandbox) -> None:
    path = "truelayer/.well-known/jwks"
    ours = sandbox.http.get(f"{sandbox.url}/{path}").json()
    for seed, same in ((SEED, True), (SEED + 1, False)):
        with serving(lambda url, seed=seed: create_sandbox_app(":memory:", seed=seed, public_url=url)) as other:
            assert (httpx.get(f"{other}/{path}").json() == ours) is same


def test_a_payment_to_the_client_itself_settles(telling: Sandbox, inbox: Inbox) -> None:
    client = Client(telling)
    payment = client.create(**method(beneficiary=TO_US))
    client.approve(payment)
    client.later()
    client.later()
    assert client.get(payment)["status"] == "settled"
    assert set(told(inbox, 3)) == {"payment_authorized", "payment_executed", "payment_settled"}


def test_it_happens_without_anybody_asking(telling: Sandbox, inbox: Inbox) -> None:
    client = Client(telling)
    telling.tell("facts", name="truelayer.step_s", value="0.1")
    client.approve(client.create())
    assert "payment_executed" in told(inbox, 2)


def test_who_banks_here_gets_what_was_paid(sandbox: Sandbox, client: Client) -> None:
    maria = sandbox.accounts("harbour", "maria")[0]
    iban = {"type": "iban", "iban": maria["iban"]}
    client.approve(client.create(**method(beneficiary=BOB | {"account_identifier": iban})))
    client.later()
    after = next(one for one in sandbox.accounts("harbour", "maria") if one["id"] == maria["id"])
    assert Decimal(after["transferred"]) - Decimal(maria["transferred"]) == Decimal("12.34")


def test_what_the_account_does_not_have_is_not_paid(client: Client) -> None:
    payment = client.create(amount_in_minor=10**9)
    client.approve(payment)
    client.later()
    after = client.get(payment)
    assert (after["status"], after["failure_stage"]) == ("failed", "authorized")
    assert after["failure_reason"] == "insufficient_funds"


def test_who_declines_ends_the_payment(telling: Sandbox, inbox: Inbox) -> None:
    client = Client(telling)
    payment = client.create()
    assert client.approve(payment, answer="decline") == f"{REDIRECT}?payment_id={payment}"
    failed = told(inbox, 1)["payment_failed"]
    assert (failed["failure_stage"], failed["failure_reason"]) == ("authorizing", "authorization_failed")
    assert client.get(payment)["status"] == "failed"


def test_a_failed_attempt_may_be_begun_again_where_the_client_wishes_so(client: Client) -> None:
    payment = client.create(**method(retry={}))
    client.approve(payment, answer="decline")
    after = client.get(payment)
    assert after["status"] == "attempt_failed"
    assert after["authorization_flow"]["actions"]["next"]["type"] == "retry"
    client.approve(payment)
    assert (client.get(payment)["status"], "failure_reason" in client.get(payment)) == ("authorized", False)


def test_a_person_may_choose_the_bank(client: Client) -> None:
    payment = client.create(**method(provider_selection={"type": "user_selected", "filter": {"countries": ["GB"]}}))
    path = f"/v3/payments/{payment}/authorization-flow"
    following = client.post(path, FLOW).json()["authorization_flow"]["actions"]["next"]
    assert [one["id"] for one in following["providers"]] == ["uk-ob-harbour"]
    chosen = f"{path}/actions/provider-selection"
    assert client.post(chosen, {"provider_id": "de-ob-nordlicht"}).status_code == 400
    page = client.post(chosen, {"provider_id": "uk-ob-harbour"}).json()["authorization_flow"]["actions"]["next"]
    client.sandbox.approve(page["uri"])
    assert client.get(payment)["status"] == "authorized"


def test_a_cancelled_payment_is_not_paid_although_its_page_stood_open(client: Client) -> None:
    payment = client.create()
    page = client.begin(payment)
    assert client.post(f"/v3/payments/{payment}/actions/cancel", {}).status_code == 202
    back = client.sandbox.approve(page)
    assert (back.status_code, back.headers["location"]) == (303, f"{REDIRECT}?payment_id={payment}")
    after = client.get(payment)
    assert (after["status"], after["failure_reason"]) == ("failed", "canceled")
    again = client.post(f"/v3/payments/{payment}/actions/cancel", {})
    assert (again.status_code, again.json()["title"]) == (409, "Invalid State")


def test_nobody_waits_for_ever_for_a_person(client: Client) -> None:
    payment = client.create()
    client.begin(payment)
    client.later(15 * 60)
    assert client.get(payment)["failure_reason"] == "expired"


def test_a_bank_may_be_told_when_and_how_it_ends(client: Client) -> None:
    client.sandbox.tell("facts", name="truelayer.hold", value="yes")
    payment = client.create()
    client.approve(payment)
    client.later(3_000)
    assert client.get(payment)["status"] == "authorized"
    act = {"action": "truelayer.payment", "payment": payment}
    answer = client.sandbox.http.post(f"{client.sandbox.url}/sandbox/actions", json={**act, "status": "settled"})
    assert answer.status_code == 400
    client.sandbox.tell("actions", **act, status="failed", reason="blocked")
    assert client.get(payment)["failure_reason"] == "blocked"


def test_the_same_key_and_body_is_one_payment_and_another_body_is_refused(client: Client) -> None:
    first, second = (client.post("/v3/payments", wish(), key="k-1") for _ in range(2))
    assert (first.status_code, first.content) == (second.status_code, second.content)
    other = client.post("/v3/payments", wish(amount_in_minor=1), key="k-1")
    assert (other.status_code, other.json()["title"]) == (422, "Idempotency-Key Reuse")
    assert client.post("/v3/payments", wish(), key="k-2").json()["id"] != first.json()["id"]


def test_a_refused_wish_does_not_use_up_its_key(client: Client) -> None:
    assert client.post("/v3/payments", wish(currency="JPY"), key="k-1").status_code == 400
    assert client.post("/v3/payments", wish(), key="k-1").status_code == 201


def test_a_key_in_flight_is_told_so(client: Client) -> None:
    client.sandbox.tell("facts", name="truelayer.slow_s", value="1.5")
    answers: list[httpx.Response] = []
    first = threading.Thread(target=lambda: answers.append(client.post("/v3/payments", wish(), key="k-1")))
    first.start()
    until = time.monotonic() + 20
    # The other thread's request may come second; then this one is the first, and its own answer says so.
    while (answer := client.post("/v3/payments", wish(), key="k-1")).status_code == 201 and not answers:
        assert time.monotonic() < until
    first.join()
    conflicts = [one for one in (*answers, answer) if one.status_code == 409]
    assert [one.json()["title"] for one in conflicts] == ["Idempotency-Key Concurrency Conflict"]
    client.sandbox.tell("facts", name="truelayer.slow_s", value=None)
    assert client.post("/v3/payments", wish(), key="k-1").status_code == 201


def test_only_what_is_signed_by_a_known_key_is_done(client: Client) -> None:
    raw = json.dumps(wish())
    stranger, _ = key_pair()
    path = "/v3/payments"
    good = client.sign(path, raw, "k-1")
    unbound: str = (
        truelayer_signing.sign_with_pem(KID, client.private).set_method(POST).set_path(path).set_body(raw).sign()
    )
    wrong = {
        "none": "",
        "garbage": "garbage",
        "no key": client.sign(path, raw, "k-1", kid="another"),
        "another's": client.sign(path, raw, "k-1", private=stranger),
        "another path": client.sign("/v3/payouts", raw, "k-1"),
        "another body": client.sign(path, raw.replace("1234", "1235"), "k-1"),
        "another key": client.sign(path, raw, "k-2"),
        "over no header": unbound,
        "cut off": good[:-4],
        "no base64": f"{good.partition('..')[0]}..!!!",
        "another header": "e30" + good[3:],
    }
    for name, signature in wrong.items():
        answer = client.post(path, wish(), key="k-1", **{"Tl-Signature": signature})
        assert (answer.status_code, answer.json()["title"]) == (401, "Unauthenticated"), name
        assert answer.headers["content-type"] == "application/problem+json"
    assert client.post(path, wish(), key="k-1", **{"Tl-Signature": good}).status_code == 201


def test_without_a_key_or_with_a_strangers_token_nothing_is_done(client: Client) -> None:
    raw = json.dumps(wish())
    unnamed = httpx.post(
        f"{client.sandbox.url}/truelayer/api/v3/payments",
        content=raw,
        headers={"Authorization": f"Bearer {client.token}", "Tl-Signature": client.sign("/v3/payments", raw, "")},
    )
    assert unnamed.status_code in (400, 401)
    stranger = client.post("/v3/payments", wish(), Authorization="Bearer nobody")
    assert (stranger.status_code, stranger.json()["type"].rpartition("#")[2]) == (401, "unauthenticated")
    client.later(3_601)
    assert client.post("/v3/payments", wish()).status_code == 401


def test_a_resource_token_opens_its_own_payment_without_a_signature(client: Client) -> None:
    mine, other = (client.post("/v3/payments", wish()).json() for _ in range(2))
    sent = {"Authorization": f"Bearer {mine['resource_token']}", "Tl-Signature": "", "Idempotency-Key": ""}
    begun = client.post(f"/v3/payments/{mine['id']}/authorization-flow", FLOW, **sent)
    assert begun.json()["status"] == "authorizing"
    assert client.post(f"/v3/payments/{other['id']}/authorization-flow", FLOW, **sent).status_code == 403
    assert client.post("/v3/payments", wish(), **sent).status_code == 403


@pytest.mark.parametrize(
    ("other", "field"),
    [
        ({"amount_in_minor": 0}, "amount_in_minor"),
        ({"amount_in_minor": 12.5}, "amount_in_minor"),
        ({"amount_in_minor": "1234"}, "amount_in_minor"),
        ({"currency": "USD"}, "currency"),
        ({"user": {"name": "Jo"}}, "user"),
        ({"metadata": {"n": 1}}, "metadata"),
        (method(type="card"), "payment_method.type"),
        (method(provider_selection={"type": "preselected", "provider_id": "uk-ob-nobody"}), "provider_id"),
        (method(provider_selection={"type": "preselected", "provider_id": "de-ob-nordlicht"}), "provider_id"),
        (method(provider_selection=AT_HARBOUR | {"scheme_id": "sepa_credit_transfer"}), "scheme_id"),
        (method(beneficiary=BOB | {"reference": "x" * 19}), "reference"),
        (method(beneficiary=BOB | {"account_holder_name": ""}), "account_holder_name"),
        (method(beneficiary=TO_US | {"merchant_account_id": "theirs"}), "merchant_account_id"),
        (
            method(beneficiary=BOB | {"account_identifier": {"type": "iban", "iban": "GB00HARB20000012345678"}}),
            "account_identifier",
        ),
    ],
)
def test_a_wish_that_is_wrong_names_its_field(client: Client, other: dict[str, Any], field: str) -> None:
    answer = client.post("/v3/payments", wish(**other))
    assert (answer.status_code, answer.json()["title"]) == (400, "Invalid Parameters")
    assert [name for name in answer.json()["errors"] if name.endswith(field)]


def test_nobody_is_sent_to_an_address_that_is_not_registered_after_paying(client: Client) -> None:
    flow = {"provider_selection": {}, "redirect": {"return_uri": "https://evil.example/"}}
    payment = client.create()
    assert client.post(f"/v3/payments/{payment}/authorization-flow", flow).status_code == 400
    assert client.get(payment)["status"] == "authorization_required"


def test_a_signing_key_on_another_curve_is_refused(sandbox: Sandbox) -> None:
    _, public = key_pair(ec.SECP256R1())
    told = {"action": "truelayer.signing_key", "kid": KID, "public_key": public}
    assert sandbox.http.post(f"{sandbox.url}/sandbox/actions", json=told).status_code == 400
