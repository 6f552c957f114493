"""Which of the two media types of GraphQL over HTTP an answer comes in, and whether it may come as a stream of events."""

from __future__ import annotations

from dataclasses import dataclass

JSON = "application/json"
GRAPHQL = "application/graphql-response+json"
EVENTS = "text/event-stream"


@dataclass(frozen=True)
class _Range:
    type: str
    quality: float

    def specificity(self, media_type: str) -> int:
        """0 where the range does not cover the type."""
        return {media_type: 3, "application/*": 2, "*/*": 1}.get(self.type, 0)


def pick(accept: str | None) -> str | None:
    """None where the client takes neither. application/graphql-response+json is given to whoever names it."""
    if accept is None or not accept.strip():
        return JSON
    ranges = [_range(part) for part in accept.split(",") if part.strip()]
    rated = {media_type: _rate(media_type, ranges) for media_type in (GRAPHQL, JSON)}
    named = rated[GRAPHQL][1] == 3
    best = max(rated.items(), key=lambda item: (*item[1], (item[0] == GRAPHQL) == named))
    return best[0] if best[1][0] > 0 else None


def takes_events(accept: str | None) -> bool:
    """Whether the client names text/event-stream: it may get a stream where there is one."""
    ranges = [_range(part) for part in (accept or "").split(",")]
    return any(one.type == EVENTS and one.quality > 0 for one in ranges)


def _range(part: str) -> _Range:
    media_type, *parameters = (piece.strip().lower() for piece in part.split(";"))
    quality = 1.0
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip() == "q":
            try:
                quality = min(max(float(value), 0.0), 1.0)
            except ValueError:
                quality = 0.0
        elif name.strip() == "charset" and value.strip('" ') not in ("utf-8", "utf8"):
            quality = 0.0
    return _Range(media_type, quality)


def _rate(media_type: str, ranges: list[_Range]) -> tuple[float, int]:
    """The quality that the most specific range gives the type, and how specific that is."""
    covering = [one for one in ranges if one.specificity(media_type)]
    if not covering:
        return 0.0, 0
    closest = max(covering, key=lambda one: one.specificity(media_type))
    return closest.quality, closest.specificity(media_type)


def is_json_body(content_type: str | None) -> bool:
    media_type, *parameters = (piece.strip().lower() for piece in (content_type or "").split(";"))
    charsets = [p.partition("=")[2].strip('" ') for p in parameters if p.startswith("charset=")]
    return media_type == JSON and all(charset in ("utf-8", "utf8") for charset in charsets)
