"""The three servers on one machine, for tests and benches; `up` supervises the same ones itself."""

from __future__ import annotations

import asyncio
from contextlib import ExitStack
from pathlib import Path
from threading import Thread

from isthmus.runtime.child import Child
from isthmus.runtime.data_directory import DataDirectory
from isthmus.runtime.servers import kafka, postgres, valkey

__all__ = ["EmbeddedServers"]


class EmbeddedServers:
    """`start` and `stop` block, and belong to the main thread: the servers end when the thread that started them does."""

    def __init__(self, data_dir: Path, *, fsync: bool = True) -> None:
        self.data = DataDirectory(data_dir)
        self._fsync = fsync
        self._children: dict[str, Child] = {}
        self._held = ExitStack()

    def start(self) -> None:
        self.data.make()
        self._held.enter_context(self.data.lock())
        try:
            self.data.end_leftovers()
            self._ports = {name: self.data.port(name) for name in (postgres.NAME, valkey.NAME, kafka.NAME)}
            specs = (
                postgres.spec(self.data, self._ports[postgres.NAME], fsync=self._fsync),
                valkey.spec(self.data, self._ports[valkey.NAME]),
                kafka.spec(self._ports[kafka.NAME]),
            )
            self._children = {spec.name: Child(spec, self.data) for spec in specs}
            for name in self._children:
                self.start_server(name, wait=False)
            for child in self._children.values():
                child.wait_until_it_answers()
            self._prepare_database()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        for child in self._children.values():
            child.ask_to_stop()
        for child in self._children.values():
            child.stop()
        self.data.remove_running()
        self._held.close()

    def start_server(self, name: str, *, wait: bool = True) -> None:
        """Start one that was stopped or killed, at its old address."""
        child = self._children[name]
        child.spec.prepare()
        child.spawn()
        if wait:
            child.wait_until_it_answers()

    def stop_server(self, name: str) -> None:
        self._children[name].stop()

    def kill_server(self, name: str) -> None:
        """As the machine would: no goodbye, nothing flushed."""
        self._children[name].kill()
        self._children[name].stop()

    def pid(self, name: str) -> int | None:
        return self._children[name].pid

    @property
    def admin_url(self) -> str:
        """The superuser, with its password, in the database `isthmus`."""
        return postgres.admin_url(self.data, self._ports[postgres.NAME])

    @property
    def app_url(self) -> str:
        """The role that the product signs in with."""
        return postgres.app_url(self.data, self._ports[postgres.NAME])

    @property
    def redis_url(self) -> str:
        return valkey.url(self.data, self._ports[valkey.NAME])

    @property
    def kafka_url(self) -> str:
        return kafka.url(self._ports[kafka.NAME])

    def _prepare_database(self) -> None:
        """In a thread, so that this may be called where an event loop runs already."""
        failed: list[BaseException] = []

        def run() -> None:
            try:
                asyncio.run(postgres.prepare_database(self.data, self._ports[postgres.NAME]))
            except BaseException as error:  # noqa: BLE001  # raised again below, in the caller's thread
                failed.append(error)

        thread = Thread(target=run)
        thread.start()
        thread.join()
        if failed:
            raise failed[0]
