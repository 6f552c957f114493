"""Forms of a sign-in page, read the way a browser fills them."""

from __future__ import annotations

from dataclasses import dataclass, field
from html.parser import HTMLParser

_NOT_TYPED = ("hidden", "submit", "button", "image", "reset", "checkbox", "radio", "file")


@dataclass
class Form:
    action: str
    method: str
    hidden: dict[str, str] = field(default_factory=dict, repr=False)
    typed: dict[str, str] = field(default_factory=dict)  # name -> type, in the page's order

    @property
    def password_field(self) -> str | None:
        return next((name for name, kind in self.typed.items() if kind == "password"), None)

    @property
    def user_field(self) -> str | None:
        """Ours is called `email`; other providers have `username` and the like."""
        names = [name for name, kind in self.typed.items() if kind in ("email", "text", "tel", "")]
        return "email" if "email" in names else next(iter(names), None)


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.forms: list[Form] = []
        self._open: Form | None = None

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        if tag == "form":
            self._open = Form(values.get("action", ""), values.get("method", "get").lower())
            self.forms.append(self._open)
        elif tag == "input" and self._open is not None and (name := values.get("name")) and "disabled" not in values:
            kind = values.get("type", "text").lower()
            if kind == "hidden":
                self._open.hidden[name] = values.get("value", "")
            elif kind not in _NOT_TYPED:
                self._open.typed[name] = kind

    def handle_endtag(self, tag: str) -> None:
        if tag == "form":
            self._open = None


def forms_of(html: str) -> list[Form]:
    reader = _Reader()
    reader.feed(html)
    reader.close()
    return reader.forms
