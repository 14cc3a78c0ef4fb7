# SPDX-License-Identifier: Apache-2.0
"""How long clients are likely to wait, predicted from those of their address that gave up."""

from gr00t_policy_core.serving.server import wait_history
from gr00t_policy_core.serving.server.wait_history import WaitHistory


def known(*waited_s: float) -> WaitHistory:
    of_a = WaitHistory()
    for waited in waited_s:
        of_a.record("A", waited)
    return of_a


def test_where_nobody_has_left_everybody_waits() -> None:
    assert known().is_likely_to_wait("A", 1e9, 1.0)
    assert known(1.0).is_likely_to_wait("B", 0.9, 1.0)


def test_an_answer_has_to_come_before_the_others_would_have_left() -> None:
    assert known(1.0).is_likely_to_wait("A", 0.7, 0.2)
    assert not known(1.0).is_likely_to_wait("A", 0.85, 0.2)


def test_who_has_waited_longer_than_anybody_is_patient() -> None:
    assert known(1.0, 1.1).is_likely_to_wait("A", 1.2, 0.2)


def test_an_impatient_neighbour_does_not_count_once_it_would_have_left() -> None:
    mixed = known(*[0.1] * 20, 1.0)
    assert not mixed.is_likely_to_wait("A", 0.0, 0.2)
    assert mixed.is_likely_to_wait("A", 0.15, 0.2)
    assert not mixed.is_likely_to_wait("A", 0.9, 0.2)


def test_only_the_last_ones_and_the_last_addresses_are_remembered() -> None:
    of_many = known(*[0.1] * 100, *[9.0] * wait_history.MAX_WAITS)
    assert of_many.is_likely_to_wait("A", 0.0, 1.0)
    for number in range(wait_history.MAX_ADDRESSES):
        of_many.record(str(number), 0.1)
    assert len(of_many._waits_s) == wait_history.MAX_ADDRESSES
