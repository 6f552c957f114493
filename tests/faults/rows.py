"""The rows of the fault matrix, and which tests prove one where none in this folder carries its name."""

from __future__ import annotations

#: Faults of what exists. The others are of parts that are not built: providers, chains, sagas.
ROWS = tuple(f"F{n}" for n in (*range(1, 18), *range(24, 28), 29, 30, *range(42, 51)))

ELSEWHERE: dict[str, tuple[str, ...]] = {
    "F12": (
        "write_models/test_relay.py::test_16_writers_in_3_processes_positions_without_gaps_seen_and_published_in_order",
    ),
    "F14": ("end_to_end/test_live.py::test_a_burst_is_delivered_whole_although_redis_drops_its_subscribers",),
    "F29": ("write_models/test_two_phase.py::test_a_hold_is_resolved_exactly_once_whatever_runs_at_once",),
    "F44": ("api/test_websocket.py::test_a_good_token_closes_4403_when_it_ends_in_mid_stream",),
    "F45": (
        "auth/test_tokens_keys.py::test_after_an_hour_of_silence_no_token_is_believed",
        "auth/test_tokens_keys.py::test_many_unknown_keys_cost_one_fetch_per_interval",
    ),
    "F47": ("read_models/test_rebuild.py::test_readers_and_projectors_go_on_and_see_old_or_new",),
    "F48": ("write_models/test_event_store.py::test_one_altered_event_breaks_the_chain_and_verify_names_it",),
}
