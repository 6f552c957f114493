"""Whether a server answers in its own protocol. A port that merely accepts says nothing: each of them accepts before it can work."""

from __future__ import annotations

import socket
import struct
from contextlib import suppress
from http.client import HTTPConnection, HTTPException
from urllib.parse import urlsplit

_TIMEOUT_S = 1.0


def postgres_answers(host: str, port: int, user: str = "isthmus", database: str = "postgres") -> bool:
    """Begins to sign in: it asks for the password only once it takes connections (while recovering it sends an error)."""
    words = b"user\0" + user.encode() + b"\0database\0" + database.encode() + b"\0\0"
    return _ask(host, port, struct.pack("!ii", len(words) + 8, 196_608) + words, 1) == b"R"


def redis_answers(host: str, port: int, password: str) -> bool:
    return _ask(host, port, f"AUTH {password}\r\nPING\r\n".encode(), 12) == b"+OK\r\n+PONG\r\n"


def kafka_answers(host: str, port: int) -> bool:
    """Asks for ApiVersions. The embedded broker ends with code 0 also when it panics, so nothing else is believed."""
    correlation = 0x1574
    request = struct.pack("!hhih", 18, 0, correlation, -1)
    answer = _ask(host, port, struct.pack("!i", len(request)) + request, 10)
    return len(answer) == 10 and struct.unpack("!iih", answer)[1:] == (correlation, 0)


def http_status(url: str, timeout_s: float = _TIMEOUT_S) -> int:
    """The status of a GET, or 0 without an answer."""
    parts = urlsplit(url)
    connection = HTTPConnection(parts.hostname or "", parts.port or 80, timeout=timeout_s)
    try:
        connection.request("GET", parts.path or "/", headers={"Accept": "application/json"})
        return connection.getresponse().status
    except (OSError, HTTPException):
        return 0
    finally:
        connection.close()


def _ask(host: str, port: int, request: bytes, length: int) -> bytes:
    answer = b""
    with suppress(OSError), socket.create_connection((host, port), timeout=_TIMEOUT_S) as connection:
        connection.sendall(request)
        while len(answer) < length and (more := connection.recv(length - len(answer))):
            answer += more
    return answer
