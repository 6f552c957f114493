"""The rows of the fault matrix, and which tests prove one where none in this folder carries its name."""

from __future__ import annotations

#: Faults of what exists. The others are of parts that are not built: providers, chains, sagas.
ROWS = tuple(f"F{n}" for n in (*range(1, 31), 38, 39, *range(41, 51)))

ELSEWHERE: dict[str, tuple[str, ...]] = {
    "F12": (
        "write_models/test_relay.py::test_16_writers_in_3_processes_positions_without_gaps_seen_and_published_in_order",
    ),
    "F14": ("end_to_end/test_live.py::test_a_burst_is_delivered_whole_although_redis_drops_its_subscribers",),
    "F18": (
        "api/test_bank_faults.py::test_f18_an_exchange_whose_answer_is_lost_is_not_taken_for_a_failure",
        "integrations/banking/test_calls.py::test_f18_who_does_not_answer_in_time_is_asked_again_only_where_that_is_safe",
    ),
    "F19": (
        "api/test_bank_calls.py::test_f19_a_provider_that_fails_again_and_again_is_left_alone_for_a_while",
        "api/test_bank_calls.py::test_f19_a_token_that_ends_in_mid_flow_is_made_fresh_once_and_the_reading_goes_on",
        "api/test_bank_calls.py::test_f19_many_who_find_a_token_over_make_it_fresh_once",
        "integrations/banking/test_tls.py::test_f19_a_connection_that_is_reset_is_made_again_only_where_that_is_safe",
    ),
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
    "F22": (
        "api/test_webhooks.py::test_f22_e5_a_thousand_repetitions_have_one_effect_and_nothing_goes_back",
        "api/test_webhooks.py::test_f22_what_comes_before_the_person_does_counts",
        "api/test_webhooks.py::test_f22_one_whose_worker_ended_is_worked_off_all_the_same",
        "integrations/banking/test_webhook_signatures.py::test_e2_the_published_vector_of_plaid_is_believed_as_long_as_it_is_fresh",
    ),
    "F23": ("api/test_webhooks.py::test_f23_without_any_webhook_the_schedule_finds_what_happened",),
    "F28": (
        "write_models/test_payment_faults.py::test_f28_of_many_who_want_the_whole_balance_by_bank_and_within_one_gets_it",
    ),
    "F29": ("write_models/test_two_phase.py::test_a_hold_is_resolved_exactly_once_whatever_runs_at_once",),
    "F39": (
        "write_models/test_payment_faults.py::test_f39_whatever_a_step_ends_in_the_money_is_where_the_payment_says",
        "write_models/test_payment_faults.py::test_f39_what_is_done_and_then_said_to_have_failed_is_shown_to_an_operator",
    ),
    "F41": (
        "write_models/test_payment_saga.py::test_f41_nobody_answers_and_it_expires_by_the_clock",
        "write_models/test_bank_payment_saga.py::test_f41_nobody_answers_at_the_bank_and_it_is_taken_back_there_before_it_expires_here",
        "write_models/test_bank_payment_saga.py::test_f41_a_bank_that_asks_elsewhere_is_polled_until_its_customer_has_answered",
        "api/test_bank_payments.py::test_f41_who_does_not_come_back_is_found_by_the_webhook_and_the_bank_is_asked",
    ),
    "F44": ("api/test_websocket.py::test_a_good_token_closes_4403_when_it_ends_in_mid_stream",),
    "F45": (
        "auth/test_tokens_keys.py::test_after_an_hour_of_silence_no_token_is_believed",
        "auth/test_tokens_keys.py::test_many_unknown_keys_cost_one_fetch_per_interval",
    ),
    "F47": ("read_models/test_rebuild.py::test_readers_and_projectors_go_on_and_see_old_or_new",),
    "F48": ("write_models/test_event_store.py::test_one_altered_event_breaks_the_chain_and_verify_names_it",),
}
