"""OneSignal: a message to a person's devices or to their mailbox, by the name that we have for the person (`external_id`).

Source: documentation.onesignal.com (push notification, e-mail: `include_aliases`, `target_channel`, `idempotency_key`).
"""

from __future__ import annotations

import html
import re
from typing import assert_never

import httpx
import msgspec

from isthmus.domain.banking import AccessEnded, ProviderFault, ProviderRefused, ProviderUnavailable
from isthmus.domain.notifications import Channel, Message, Undeliverable
from isthmus.integrations.banking.calls import Calls
from isthmus.integrations.banking.json_http import JsonHttp, refusal_of


class _Answer(msgspec.Struct):
    id: str = ""


class OneSignal:
    """Implements `Notifier`. Asking twice under one key is safe: the provider sends it once."""

    def __init__(self, url: str, app_id: str, api_key: str, http: httpx.AsyncClient, calls: Calls) -> None:
        self._app_id = app_id
        self._headers = {"Authorization": f"Key {api_key}"}
        self._http = JsonHttp(http, calls, url, lambda status, _: refusal_of("OneSignal", status, ""))

    async def send(self, message: Message) -> None:
        body = {
            "app_id": self._app_id,
            "include_aliases": {"external_id": [str(message.person)]},
            "idempotency_key": str(message.key),
            **_content(message),
        }
        try:
            answer = await self._http.ask(
                "notifications", "POST", "/notifications", _Answer, safe=True, headers=self._headers, json=body
            )
        except AccessEnded as refusal:  # our key is no good, which an operator mends
            raise Undeliverable(str(refusal), again=True) from None
        except ProviderRefused as refusal:
            raise Undeliverable(str(refusal), again=False) from None
        except ProviderUnavailable as fault:
            raise Undeliverable(str(fault), again=True, after_s=fault.retry_after_s or 0) from None
        except ProviderFault as fault:
            raise Undeliverable(str(fault), again=True) from None
        if not answer.id:  # taken, and made nothing of (200)
            raise Undeliverable("OneSignal knows no place of theirs to send it to", again=False)


def _content(message: Message) -> dict[str, object]:
    title, body = _no_template(message.title), _no_template(message.body)
    match message.channel:
        case Channel.PUSH:
            return {"target_channel": "push", "headings": {"en": title}, "contents": {"en": body}}
        case Channel.EMAIL:
            text = html.escape(body)
            return {"target_channel": "email", "email_subject": title, "email_body": f"<p>{text}</p>"}
        case _:
            assert_never(message.channel)


def _no_template(text: str) -> str:
    """What is sent is read as a template (Liquid), and names in it are whoever's: one could hide whom a code pays. What begins a tag is
    parted by a sign that nobody sees."""
    return re.sub(r"\{(?=[{%])", "{\u2060", text)
