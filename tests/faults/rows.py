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
        "write_models/test_payment_wire_faults.py::test_f18_whatever_answer_is_lost_on_the_way_it_is_one_payment_at_the_bank",
        "write_models/test_payment_wire_faults.py::test_f18_a_bank_that_does_it_and_is_silent_for_longer_than_we_wait_has_done_it_once",
        "write_models/test_payment_wire_faults.py::test_f18_who_cannot_be_reached_is_reached_later",
        "write_models/test_payment_wire_faults.py::test_f18_what_is_taken_back_and_nobody_says_so_is_over_here_once_it_is_there",
        "write_models/test_payment_wire_faults.py::test_f18_a_secret_that_is_no_good_any_more_is_no_refusal_of_what_may_have_been_paid",
        "write_models/test_code_delivery_faults.py::test_f18_f19_f21_whatever_becomes_of_it_the_code_arrives_once",
        "integrations/banking/test_payee_verification.py::test_f18_f19_f21_what_is_not_said_in_time_or_at_all_is_unavailable",
    ),
    "F19": (
        "api/test_bank_calls.py::test_f19_a_provider_that_fails_again_and_again_is_left_alone_for_a_while",
        "api/test_bank_calls.py::test_f19_a_token_that_ends_in_mid_flow_is_made_fresh_once_and_the_reading_goes_on",
        "api/test_bank_calls.py::test_f19_many_who_find_a_token_over_make_it_fresh_once",
        "integrations/banking/test_tls.py::test_f19_a_connection_that_is_reset_is_made_again_only_where_that_is_safe",
        "write_models/test_payment_wire_faults.py::test_f19_a_provider_that_fails_at_every_step_has_done_it_once_in_the_end",
        "write_models/test_payment_wire_faults.py::test_f19_who_says_for_how_long_is_left_alone_for_so_long",
        "write_models/test_payment_wire_faults.py::test_f19_a_token_that_is_over_in_mid_flow_is_made_fresh_once_for_all_who_find_it_so",
        "write_models/test_payment_wire_faults.py::test_f19_who_lets_us_in_no_more_has_refused_nothing",
        "write_models/test_code_delivery_faults.py::test_f19_a_carrier_that_wants_to_be_left_alone_is",
        "integrations/banking/test_payee_verification.py::test_f18_f19_f21_what_is_not_said_in_time_or_at_all_is_unavailable",
    ),
    "F20": (
        "api/test_bank_faults.py::test_f20_a_word_that_is_new_is_parked_and_the_bank_is_read_on",
        "api/test_bank_faults.py::test_f20_what_is_booked_stays_so_whatever_a_bank_says_later",
        "write_models/test_bank_matching.py::test_what_is_booked_never_goes_back",
        "write_models/test_payment_wire_lies.py::test_f20_a_word_that_nobody_knows_moves_nothing_and_is_shown_until_it_is_known_again",
        "write_models/test_payment_wire_lies.py::test_f20_what_is_said_to_be_done_then_not_yet_and_then_to_have_failed_is_shown_to_an_operator",
        "write_models/test_payment_wire_lies.py::test_f20_what_was_said_to_have_failed_and_is_done_all_the_same_is_shown_to_an_operator",
        "write_models/test_payment_wire_lies.py::test_f20_what_has_left_for_us_and_has_not_arrived_is_credited_to_nobody",
        "write_models/test_payment_wire_lies.py::test_f20_a_payout_that_its_bank_will_not_tell_of_is_shown_to_an_operator",
        "integrations/banking/test_payee_verification.py::test_f20_a_word_that_nobody_knows_says_nothing_of_the_name",
    ),
    "F21": (
        "api/test_bank_faults.py::test_f19_f21_whatever_goes_wrong_once_in_the_end_everything_is_there_once",
        "api/test_bank_faults.py::test_f21_what_cannot_be_is_refused_whole_and_the_cursor_stays",
        "write_models/test_bank_sync_machine.py::test_after_any_trouble_the_mirror_is_the_banks_own_book",
        "write_models/test_payment_wire_lies.py::test_f21_what_cannot_be_is_refused_and_another_amount_is_shown_to_an_operator",
        "write_models/test_payment_wire_lies.py::test_f21_what_is_answered_to_a_wish_and_is_no_answer_is_not_known_and_done_once",
        "write_models/test_payment_wire_lies.py::test_f21_a_statement_that_cannot_be_is_refused_whole_and_nothing_is_booked",
        "api/test_payment_webhook_faults.py::test_f21_a_webhook_that_cannot_be_is_put_aside_and_nothing_is_looked_at",
        "integrations/banking/test_payee_verification.py::test_f18_f19_f21_what_is_not_said_in_time_or_at_all_is_unavailable",
    ),
    "F22": (
        "api/test_webhooks.py::test_f22_e5_a_thousand_repetitions_have_one_effect_and_nothing_goes_back",
        "api/test_webhooks.py::test_f22_what_comes_before_the_person_does_counts",
        "api/test_webhooks.py::test_f22_one_whose_worker_ended_is_worked_off_all_the_same",
        "integrations/banking/test_webhook_signatures.py::test_e2_the_published_vector_of_plaid_is_believed_as_long_as_it_is_fresh",
        "api/test_payment_webhook_faults.py::test_f22_a_thousand_in_any_order_before_and_after_and_three_days_late_have_one_effect",
        "write_models/test_payment_wire_faults.py::test_f22_what_a_webhook_tells_of_before_the_api_has_answered_is_done_once_and_never_downgraded",
    ),
    "F23": (
        "api/test_webhooks.py::test_f23_without_any_webhook_the_schedule_finds_what_happened",
        "write_models/test_payment_wire_faults.py::test_f23_without_any_webhook_the_schedule_finds_what_became_of_it",
    ),
    "F24": (
        "write_models/test_payment_clocks.py::test_f24_a_code_lives_five_minutes_whichever_node_issues_it_and_whichever_hears_the_answer",
        "write_models/test_payment_clocks.py::test_f24_nothing_is_taken_back_at_a_bank_before_its_time_nor_authorised_there_after_it",
        "write_models/test_payment_clocks.py::test_f24_a_clock_that_steps_in_mid_flow_ends_nothing_and_leaves_a_look_ahead",
    ),
    "F28": (
        "write_models/test_payment_faults.py::test_f28_of_all_who_want_the_balance_at_once_by_every_way_only_as_many_get_it_as_it_covers",
    ),
    "F29": ("write_models/test_two_phase.py::test_a_hold_is_resolved_exactly_once_whatever_runs_at_once",),
    "F39": (
        "write_models/test_payment_faults.py::test_f39_whatever_a_step_ends_in_the_money_is_where_the_payment_says",
        "write_models/test_payment_faults.py::test_f39_what_is_done_and_then_said_to_have_failed_is_shown_to_an_operator",
        "write_models/test_bank_payment_faults.py::test_f39_whatever_a_step_ends_in_the_money_is_where_the_payment_says",
    ),
    "F41": (
        "write_models/test_payment_saga.py::test_f41_nobody_answers_and_it_expires_by_the_clock",
        "write_models/test_bank_payment_saga.py::test_f41_nobody_answers_at_the_bank_and_it_is_taken_back_there_before_it_expires_here",
        "write_models/test_bank_payment_saga.py::test_f41_a_bank_that_asks_elsewhere_is_polled_until_its_customer_has_answered",
        "api/test_bank_payments.py::test_f41_who_does_not_come_back_is_found_by_the_webhook_and_the_bank_is_asked",
        "write_models/test_bank_payment_faults.py::test_f41_who_comes_back_twice_and_at_once_has_authorised_it_once",
        "write_models/test_bank_payment_faults.py::test_f41_who_comes_back_when_it_is_over_moves_nothing",
        "write_models/test_bank_payment_faults.py::test_f41_a_bank_that_asks_elsewhere_and_is_away_for_three_days_is_waited_for",
        "write_models/test_bank_payment_faults.py::test_f41_what_the_bank_does_not_take_back_and_is_authorised_days_later_an_operator_sees",
    ),
    "F44": ("api/test_websocket.py::test_a_good_token_closes_4403_when_it_ends_in_mid_stream",),
    "F45": (
        "auth/test_tokens_keys.py::test_after_an_hour_of_silence_no_token_is_believed",
        "auth/test_tokens_keys.py::test_many_unknown_keys_cost_one_fetch_per_interval",
    ),
    "F47": ("read_models/test_rebuild.py::test_readers_and_projectors_go_on_and_see_old_or_new",),
    "F48": ("write_models/test_event_store.py::test_one_altered_event_breaks_the_chain_and_verify_names_it",),
}
