"""Where browsers find us, and who we are to the issuer there."""

from __future__ import annotations

from dataclasses import dataclass, replace

from isthmus.auth.relying_party import origin_of

_LOOPBACK = "127.0.0.1"


@dataclass(frozen=True)
class Site:
    """Where browsers find us, and who we are to the issuer. `url` has no path."""

    url: str
    issuer_url: str
    client_id: str

    @property
    def origin(self) -> str:
        return origin_of(self.url)

    @property
    def secure(self) -> bool:
        return self.url.startswith("https://")

    @property
    def redirect_uri(self) -> str:
        return f"{self.url}/playground/callback"

    @property
    def signed_out_uri(self) -> str:
        return f"{self.url}/playground/signed-out"

    def by_name(self) -> Site:
        """The same place under the name of this machine: to a device (WebAuthn) an address is nobody's name."""
        return replace(self, url=self.url.replace(f"//{_LOOPBACK}:", "//localhost:", 1))
