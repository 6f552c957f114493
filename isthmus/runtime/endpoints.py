"""Where everything is: what a setting names comes first, then what the running `up` wrote into the data directory."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args
from urllib.parse import urlsplit, urlunsplit

from pydantic import SecretStr

from isthmus.runtime.data_directory import DataDirectory
from isthmus.settings import LOOPBACK, Settings, SettingsError

Part = Literal["database", "redis", "kafka", "issuer"]
PARTS: tuple[Part, ...] = get_args(Part)
#: What commands need that ask the database alone.
DATABASE: tuple[Part, ...] = ("database",)


@dataclass(frozen=True)
class Endpoints:
    """`database_url` signs in as the product does, `admin_url` as the role that migrates. Both hold passwords, as may `redis_url`.

    `kafka_embedded` asks for a producer without idempotence, which the embedded broker refuses. `sandbox_url` is "" where the banks
    are the real ones.
    """

    database_url: str
    admin_url: str
    redis_url: str
    kafka_url: str
    kafka_embedded: bool
    issuer_url: str
    api_url: str
    sandbox_url: str = ""

    def __repr__(self) -> str:
        """Without passwords: it ends up in a traceback one day."""
        told = {
            **asdict(self),
            **{n: without_password(getattr(self, n)) for n in ("database_url", "admin_url", "redis_url")},
        }
        return f"Endpoints({', '.join(f'{name}={value!r}' for name, value in told.items())})"


def resolve(settings: Settings, *, need: Collection[Part] = PARTS) -> Endpoints:
    """Raises SettingsError where a part in `need` is neither set nor run by an `up` on the data directory; other missing parts are ""."""
    running = DataDirectory(settings.data_dir).running() or {}
    kept: dict[str, Any] = running.get("endpoints", {})
    given = {
        "database": _plain(settings.database.url),
        "redis": _plain(settings.redis.url),
        "kafka": settings.kafka.url,
        "issuer": settings.issuer.url,
    }
    missing = [part for part in PARTS if part in need and not (given[part] or kept.get(f"{part}_url"))]
    if missing:
        variables = " and ".join(f"ISTHMUS_{part.upper()}__URL" for part in missing)
        raise SettingsError(
            f"no `isthmus up` runs on {settings.data_dir}: start one, name its ISTHMUS_DATA_DIR, or set {variables}"
        )
    url = {part: given[part] or kept.get(f"{part}_url", "") for part in PARTS}
    admin = _plain(settings.database.admin_url) or given["database"] or kept.get("admin_url", "")
    return Endpoints(
        database_url=url["database"],
        admin_url=admin,
        redis_url=url["redis"],
        kafka_url=url["kafka"],
        kafka_embedded=given["kafka"] is None,
        issuer_url=url["issuer"],
        api_url=kept.get("api_url") or base_url(settings.api.host, settings.api.port),
        sandbox_url=kept.get("sandbox_url", "") if settings.sandbox.enabled else "",
    )


def base_url(host: str, port: int) -> str:
    """As a client on this machine reaches it. Without a port, nobody knows yet."""
    if not port:
        return ""
    reachable = LOOPBACK if host in ("", "0.0.0.0", "::") else f"[{host}]" if ":" in host else host  # noqa: S104
    return f"http://{reachable}:{port}"


def without_password(url: str) -> str:
    parts = urlsplit(url)
    if parts.password is None:
        return url
    place = parts.netloc.rpartition("@")[2]
    user = f"{parts.username}@" if parts.username else ""
    return urlunsplit(parts._replace(netloc=f"{user}{place}"))


def _plain(value: SecretStr | None) -> str | None:
    return value.get_secret_value() if value is not None else None
