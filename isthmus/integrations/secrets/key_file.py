"""The master key in a file: a line per version, `v2:<base64 of 32 bytes>`. A line without a number is version 1.

The first version gives the derived keys too, which outlive it: once retired it stays as the line `root:<base64>`. A file is replaced
whole, so that whoever reads it meanwhile, or after a power cut, finds the old one or the new one.
"""

from __future__ import annotations

import base64
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import NamedTemporaryFile

from isthmus.integrations.secrets.master_key import MasterKeyError
from isthmus.integrations.secrets.sealing import KEY_BYTES

_LINE = re.compile(r"(?:(?:(?P<root>root)|v(?P<version>[1-9][0-9]{0,8})):)?(?P<key>[A-Za-z0-9+/]+={0,2})")


@dataclass(frozen=True)
class KeyFile:
    """What stands in it. `keys` are those that wrap, by version."""

    root: bytes = field(repr=False)
    keys: Mapping[int, bytes] = field(repr=False)

    @property
    def newest(self) -> int:
        return max(self.keys)

    def with_another(self) -> KeyFile:
        return replace(self, keys={**self.keys, self.newest + 1: os.urandom(KEY_BYTES)})

    def without(self, version: int) -> KeyFile:
        return replace(self, keys={number: key for number, key in self.keys.items() if number != version})

    def text(self) -> str:
        lines = [] if 1 in self.keys else [f"root:{_encoded(self.root)}"]
        lines += [f"v{version}:{_encoded(key)}" for version, key in sorted(self.keys.items())]
        return "".join(f"{line}\n" for line in lines)


def made() -> KeyFile:
    root = os.urandom(KEY_BYTES)
    return KeyFile(root, {1: root})


def read(path: Path) -> KeyFile:
    try:
        return _parsed(path.read_text(encoding="ascii"))
    except (OSError, ValueError) as error:
        told = type(error).__name__ if isinstance(error, OSError | UnicodeError) else str(error)
        raise MasterKeyError(f"the master key cannot be read from {path.name}: {told}") from None


def create(path: Path, content: KeyFile) -> bool:
    """Whole or not at all. False where there is one: another process was quicker."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    written = _beside(path, content)
    try:
        os.link(written, path)
    except FileExistsError:
        return False
    finally:
        written.unlink()
    _on_disk(path.parent)
    return True


def overwrite(path: Path, content: KeyFile) -> None:
    try:
        _beside(path, content).replace(path)
        _on_disk(path.parent)
    except OSError as error:
        raise MasterKeyError(f"the master key cannot be written to {path.name}: {error.strerror}") from None


def _parsed(text: str) -> KeyFile:
    """Raises ValueError, whose words hold nothing of the key."""
    root: bytes | None = None
    keys: dict[int, bytes] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        found = _LINE.fullmatch(line.strip())
        if found is None:
            raise ValueError(f"line {number} is not v<number>:<base64>")
        try:
            key = base64.b64decode(found["key"], validate=True)
        except ValueError:
            key = b""
        if len(key) != KEY_BYTES:
            raise ValueError(f"line {number}: a master key must have {KEY_BYTES} bytes, base64-encoded")
        version = int(found["version"] or 1)
        if found["root"]:
            if root is not None:
                raise ValueError(f"line {number} repeats the root")
            root = key
        elif version in keys:
            raise ValueError(f"line {number} repeats version {version}")
        else:
            keys[version] = key
    root = root or keys.get(1)
    if root is None or not keys:
        raise ValueError("there is no key in it, or no version 1 and no root")
    return KeyFile(root, keys)


def _encoded(key: bytes) -> str:
    return base64.b64encode(key).decode()


def _beside(path: Path, content: KeyFile) -> Path:
    """On the disk, in the same folder, readable by its owner only."""
    with NamedTemporaryFile("w", encoding="ascii", dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
        file.write(content.text())
        file.flush()
        os.fsync(file.fileno())
    return Path(file.name)


def _on_disk(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
