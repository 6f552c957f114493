"""OneSignal as it is spoken to, and what its answers mean."""

from __future__ import annotations

import json
from typing import Any
from uuid import uuid4

import httpx
import pytest

from isthmus.domain.notifications import Channel, Message, Undeliverable
from isthmus.integrations.banking.calls import Calls, Manners
from isthmus.integrations.notifications.onesignal import OneSignal


async def told(channel: Channel, status: int, answer: Any, body: str = "1.00 EUR to <Bob> was sent.") -> dict[str, Any]:
    """What is sent, where it is answered so."""
    sent = []

    def take(request: httpx.Request) -> httpx.Response:
        sent.append(json.loads(request.content))
        return httpx.Response(status, json=answer)

    message = Message(uuid4(), uuid4(), "Payment sent", body, channel)
    async with httpx.AsyncClient(transport=httpx.MockTransport(take)) as http:
        await OneSignal("https://carrier.example", "app", "key", http, Calls("test", Manners(attempts=1))).send(message)
    (taken,) = sent
    assert taken["idempotency_key"] == str(message.key)
    assert taken["include_aliases"] == {"external_id": [str(message.person)]}
    return dict(taken)


async def test_each_way_has_a_form_of_its_own_and_no_text_is_mark_up() -> None:
    push = await told(Channel.PUSH, 200, {"id": "x"})
    mail = await told(Channel.EMAIL, 200, {"id": "x"})

    assert (push["target_channel"], push["contents"]) == ("push", {"en": "1.00 EUR to <Bob> was sent."})
    assert (mail["target_channel"], mail["email_subject"]) == ("email", "Payment sent")
    assert mail["email_body"] == "<p>1.00 EUR to &lt;Bob&gt; was sent.</p>"
    assert "contents" not in mail


async def test_what_a_payee_is_called_is_no_template() -> None:
    """The carrier reads {{ and {% as Liquid: a name could hide what stands behind it, which is the account and the next payee."""
    body = "Pay 9.00 EUR to A{% comment %}B (DE89); C{%endcomment%} {{{ user.tags.x }}}"
    push = (await told(Channel.PUSH, 200, {"id": "x"}, body))["contents"]["en"]
    mail = (await told(Channel.EMAIL, 200, {"id": "x"}, body))["email_body"]

    for said in (push, mail):
        assert "{{" not in said
        assert "{%" not in said
    assert push.replace("\u2060", "") == body, "and reads as it was written"


@pytest.mark.parametrize(
    ("status", "answer", "again"),
    [
        (200, {"id": "", "errors": ["All included players are not subscribed"]}, False),
        (400, {"errors": ["no"]}, False),
        (403, {"errors": ["Access denied."]}, True),
        (503, {}, True),
    ],
)
async def test_whether_it_may_be_sent_again_follows_from_the_answer(status: int, answer: Any, again: bool) -> None:
    with pytest.raises(Undeliverable) as fault:
        await told(Channel.PUSH, status, answer)
    assert fault.value.again is again
