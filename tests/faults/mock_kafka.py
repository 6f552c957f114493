"""Kafka that fails on command: the mock cluster inside librdkafka, three brokers on real sockets, which our own client talks to.

It speaks the protocol of a real broker (idempotent producers included, which the embedded broker refuses) and answers requests with
the error codes that it was given. Memory only; the checksums of what it gives back are not those of the batches.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

BROKERS = (1, 2, 3)
PRODUCE, METADATA, INIT_PRODUCER_ID = 0, 3, 22
NOT_LEADER, REQUEST_TIMED_OUT, NOT_COORDINATOR, NOT_ENOUGH_REPLICAS = 6, 7, 16, 19


def _library() -> ctypes.CDLL:
    found = find_spec("confluent_kafka")
    assert found is not None
    assert found.origin is not None, "confluent-kafka is a dependency of the tests"
    (path,) = Path(found.origin).parent.parent.glob("confluent_kafka.libs/librdkafka*")
    library = ctypes.CDLL(str(path))
    library.rd_kafka_conf_new.restype = ctypes.c_void_p
    library.rd_kafka_new.restype = ctypes.c_void_p
    library.rd_kafka_mock_cluster_new.restype = ctypes.c_void_p
    library.rd_kafka_mock_cluster_bootstraps.restype = ctypes.c_char_p
    return library


class MockKafka:
    def __init__(self, library: ctypes.CDLL, cluster: ctypes.c_void_p) -> None:
        self._library = library
        self._cluster = cluster
        self.kafka_url: str = library.rd_kafka_mock_cluster_bootstraps(cluster).decode()

    def make_topics(self, topics: Mapping[str, int]) -> None:
        for topic, partitions in topics.items():
            self._done(
                self._library.rd_kafka_mock_topic_create(self._cluster, topic.encode(), partitions, len(BROKERS))
            )

    def fail(self, request: int, code: int, times: int) -> None:
        """The next so many requests of a kind are answered with an error code, and nothing is done."""
        codes = (ctypes.c_int * times)(*[code] * times)
        self._library.rd_kafka_mock_push_request_errors_array(
            self._cluster, ctypes.c_int16(request), ctypes.c_size_t(times), codes
        )

    def lead(self, topic: str, partition: int, broker: int) -> None:
        self._done(self._library.rd_kafka_mock_partition_set_leader(self._cluster, topic.encode(), partition, broker))

    def down(self, broker: int) -> None:
        self._done(self._library.rd_kafka_mock_broker_set_down(self._cluster, broker))

    def up(self, broker: int) -> None:
        self._done(self._library.rd_kafka_mock_broker_set_up(self._cluster, broker))

    @staticmethod
    def _done(code: int) -> None:
        assert code == 0, code


@contextmanager
def mock_kafka() -> Iterator[MockKafka]:
    library = _library()
    errors = ctypes.create_string_buffer(512)
    handle = ctypes.c_void_p(
        library.rd_kafka_new(0, ctypes.c_void_p(library.rd_kafka_conf_new()), errors, ctypes.c_size_t(512))
    )
    assert handle.value, errors.value
    cluster = ctypes.c_void_p(library.rd_kafka_mock_cluster_new(handle, len(BROKERS)))
    assert cluster.value
    try:
        yield MockKafka(library, cluster)
    finally:
        library.rd_kafka_mock_cluster_destroy(cluster)
        library.rd_kafka_destroy(handle)
