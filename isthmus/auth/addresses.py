"""Where a request comes from: the peer, or what proxies that we trust say of theirs. Nobody else is believed (row G11)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Any

UNKNOWN = "unknown"
Network = IPv4Network | IPv6Network


def networks(texts: Iterable[str]) -> tuple[Network, ...]:
    """Addresses and networks (`10.0.0.0/8`). Raises ValueError."""
    return tuple(ip_network(text) for text in texts)


def client_address(scope: Mapping[str, Any], trusted: Sequence[Network]) -> str:
    """Of an ASGI scope: the nearest address that is not a trusted proxy's, as RFC 7239 5.2 and 7.4 have it, read from the right.

    Proxies append the peer that they saw; whatever stands left of the first stranger was written by that stranger.
    """
    peer = scope.get("client")
    address = str(peer[0]) if peer else UNKNOWN
    if not trusted or not _within(address, trusted):
        return address
    said = [value.decode("latin-1") for name, value in scope.get("headers", ()) if name == b"x-forwarded-for"]
    for hop in reversed([part.strip() for part in ",".join(said).split(",")]):
        if not _is_address(hop):
            return address
        address = hop
        if not _within(address, trusted):
            break
    return address


def network_of(address: str | None) -> str:
    """What counts as one address: of IPv6 the /64, all of which one host may have."""
    try:
        ip = ip_address(address or "")
    except ValueError:
        return UNKNOWN
    if isinstance(ip, IPv6Address):
        return str(ip.ipv4_mapped or ip_network((ip, 64), strict=False))
    return str(ip)


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def _within(address: str, trusted: Sequence[Network]) -> bool:
    try:
        ip = ip_address(address)
    except ValueError:
        return False
    if isinstance(ip, IPv6Address) and ip.ipv4_mapped is not None:
        ip = ip.ipv4_mapped
    return any(ip in network for network in trusted)
