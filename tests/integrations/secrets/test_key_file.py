"""The master key's file: what stands in it, what is refused, and that nobody ever meets half of one."""

from __future__ import annotations

import base64
import os
import stat
import threading
from pathlib import Path

import pytest

from isthmus.integrations.secrets import key_file
from isthmus.integrations.secrets.file_master_key import FileMasterKey
from isthmus.integrations.secrets.master_key import MasterKeyError, Plain, Wrapped

ONE, TWO = base64.b64encode(b"1" * 32).decode(), base64.b64encode(b"2" * 32).decode()
CONTEXT = b"place"


def written(path: Path, text: str) -> Path:
    file = path / "master.key"
    file.write_text(text)
    return file


async def opened(master: FileMasterKey, version: int, blob: bytes) -> bytes:
    return (await master.unwrap_many([(Wrapped("file", version, blob), CONTEXT)]))[0]


async def test_a_bare_line_is_version_1(tmp_path: Path) -> None:
    bare, named = FileMasterKey(written(tmp_path, ONE + "\n")), FileMasterKey(written(tmp_path, f"v1:{ONE}\n"))

    (blob,) = await bare.wrap_many(1, [Plain(b"key", CONTEXT)])

    assert await opened(named, 1, blob) == b"key"
    assert bare.derive("login") == named.derive("login")


async def test_what_a_key_of_the_first_release_wrapped_and_derived_is_the_same_for_ever(tmp_path: Path) -> None:
    """Computed once with the release before versions, for a key of 32 digits 1."""
    master = FileMasterKey(written(tmp_path, ONE + "\n"))

    wrapped = bytes(12) + bytes.fromhex(
        "410b9c72023492fc854215cb39c57752390505237d312f57afb6a1b60fe0eff4121f76479775b118a0740b98c40b146b"
    )
    assert await opened(master, 1, wrapped) == b"k" * 32
    assert master.derive("login").hex() == "77425f7dc73ac685a993f142f0fedfd2604701fe4f19b58884109dd3c7c551db"


async def test_derived_keys_stay_when_versions_come_and_go(tmp_path: Path) -> None:
    file = written(tmp_path, ONE)
    master = FileMasterKey(file)
    before = master.derive("login")
    (old,) = await master.wrap_many(1, [Plain(b"old", CONTEXT)])

    assert await master.add_version() == 2
    (new,) = await master.wrap_many(2, [Plain(b"new", CONTEXT)])
    assert await opened(master, 1, old) == b"old"
    await master.drop_version(1)

    for one in (master, FileMasterKey(file)):
        assert one.derive("login") == before
        assert await one.versions() == [2]
        assert await opened(one, 2, new) == b"new"
        with pytest.raises(MasterKeyError, match=r"version 1 of the master key is not in master\.key"):
            await opened(one, 1, old)
    assert file.read_text().startswith(f"root:{ONE}\nv2:")
    assert await master.add_version() == 3


async def test_a_running_process_finds_a_version_that_came_later(tmp_path: Path) -> None:
    file = written(tmp_path, ONE)
    running = FileMasterKey(file)
    cli = FileMasterKey(file)

    await cli.add_version()
    (blob,) = await cli.wrap_many(2, [Plain(b"key", CONTEXT)])

    assert await opened(running, 2, blob) == b"key"
    (mine,) = await running.wrap_many(2, [Plain(b"mine", CONTEXT)])
    assert await opened(cli, 2, mine) == b"mine"


async def test_a_key_opens_in_its_place_and_under_its_version_only(tmp_path: Path) -> None:
    master = FileMasterKey(written(tmp_path, f"v1:{ONE}\nv2:{TWO}\n"))
    (blob,) = await master.wrap_many(1, [Plain(b"key", CONTEXT)])

    for wrapped, context in (
        (Wrapped("file", 1, blob), b"elsewhere"),
        (Wrapped("file", 2, blob), CONTEXT),
        (Wrapped("vault", 1, blob), CONTEXT),
        (Wrapped("file", 1, blob[:-1]), CONTEXT),
    ):
        with pytest.raises(MasterKeyError):
            await master.unwrap_many([(wrapped, context)])


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "there is no key"),
        ("\n", "line 1 is not"),
        ("v1:" + ONE + "\nv1:" + TWO, "line 2 repeats version 1"),
        (ONE + "\n" + TWO, "line 2 repeats version 1"),
        (f"root:{ONE}\nroot:{TWO}\nv2:{TWO}", "line 2 repeats the root"),
        ("v2:" + TWO, "no version 1 and no root"),
        ("root:" + ONE, "there is no key"),
        ("v0:" + ONE, "line 1 is not"),
        ("2:" + ONE, "line 1 is not"),
        ("v1:" + ONE[:-8], "line 1: a master key must have 32 bytes"),
        ("v1:not base64!", "line 1 is not"),
        ("ключ", "UnicodeDecodeError"),
    ],
)
def test_what_is_no_key_file_is_refused_by_line_and_not_shown(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(MasterKeyError, match=told) as refused:
        FileMasterKey(written(tmp_path, text))
    assert ONE[:10] not in str(refused.value)


def test_a_file_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(MasterKeyError, match=r"master\.key: FileNotFoundError"):
        FileMasterKey(tmp_path / "master.key")


def test_many_that_start_at_once_use_one_key(tmp_path: Path) -> None:
    """None of them meets a file that is empty still."""
    for n in range(20):
        file, roots, begin = tmp_path / str(n) / "master.key", list[bytes](), threading.Barrier(4)

        def start(file: Path = file, roots: list[bytes] = roots, begin: threading.Barrier = begin) -> None:
            begin.wait()
            roots.append(FileMasterKey.load_or_create(file).root)

        threads = [threading.Thread(target=start) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(roots) == 4
        assert len(set(roots)) == 1
        assert os.listdir(file.parent) == ["master.key"]
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700


async def test_the_file_is_replaced_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is cut off before the new one is in its place leaves the old one, to the byte."""
    file = written(tmp_path, ONE)
    master = FileMasterKey(file)

    def cut(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "replace", cut)
    with pytest.raises(KeyboardInterrupt):
        await master.add_version()
    monkeypatch.undo()

    assert file.read_text() == ONE
    synced = list[int]()
    monkeypatch.setattr(os, "fsync", synced.append)
    await master.add_version()
    assert len(synced) == 2, "the new file, and the folder that names it"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_no_repr_shows_a_key() -> None:
    content = key_file.made()
    assert repr(content) == "KeyFile()"
    assert "secret" not in repr((Plain(b"secret", b"c"), Wrapped("file", 1, b"secret")))
