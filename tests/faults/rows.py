"""The rows of the fault matrix, and which tests prove one where none in this folder carries its name."""

from __future__ import annotations

#: Faults of what exists. The others are of parts that are not built: providers, chains, sagas.
ROWS = tuple(f"F{n}" for n in (*range(1, 18), 20, 21, *range(24, 28), 29, 30, *range(42, 51)))

ELSEWHERE: dict[str, tuple[str, ...]] = {
    "F12": (
        "write_models/test_relay.py::test_16_writers_in_3_processes_positions_without_gaps_seen_and_published_in_order",
    ),
    "F14": ("end_to_end/test_live.py::test_a_burst_is_delivered_whole_although_redis_drops_its_subscribers",),
    "F20": (
        "api/test_bank_faults.py::test_f20_a_word_that_is_new_is_parked_and_the_bank_is_read_on",
        "api/test_bank_faults.py::test_f20_what_is_booked_stays_so_whatever_a_bank_says_later",
        "write_models/test_bank_matching.py::test_what_is_booked_never_goes_back",
    ),
    "F21": (
        "api/test_bank_faults.py::test_f19_f21_whatever_goes_wrong_once_in_the_end_everything_is_there_once",
        "api/test_bank_faults.py::test_f21_what_cannot_be_is_refused_whole_and_the_cursor_stays",
        "write_models/test_bank_sync_machine.py::test_after_any_trouble_the_mirror_is_the_banks_own_book",
    ),
    "F29": ("write_models/test_two_phase.py::test_a_hold_is_resolved_exactly_once_whatever_runs_at_once",),
    "F44": ("api/test_websocket.py::test_a_good_token_closes_4403_when_it_ends_in_mid_stream",),
    "F45": (
        "auth/test_tokens_keys.py::test_after_an_hour_of_silence_no_token_is_believed",
        "auth/test_tokens_keys.py::test_many_unknown_keys_cost_one_fetch_per_interval",
    ),
    "F47": ("read_models/test_rebuild.py::test_readers_and_projectors_go_on_and_see_old_or_new",),
    "F48": ("write_models/test_event_store.py::test_one_altered_event_breaks_the_chain_and_verify_names_it",),
}
