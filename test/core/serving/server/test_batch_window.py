# SPDX-License-Identifier: Apache-2.0
"""Who is waited for: only clients known to ask again at once. Times are given, not slept."""

from gr00t_policy_core.serving.server.batch_window import (
    CLIENTS_KEPT,
    GATHER_S,
    GATHER_SHARE,
    Gathering,
)
from gr00t_policy_core.serving.server.endpoints import Endpoint
from gr00t_policy_core.serving.server.jobs import Job
from gr00t_policy_core.serving.transport.base import Message
from gr00t_policy_core.serving.wire.envelope import Request

ACT = Endpoint.of("get_action", lambda observation: None, True)


def job(client: str, received_s: float = 0.0) -> Job:
    request = Request("get_action", None, False, None)
    message = Message([client.encode()], None, "", "127.0.0.1")
    return Job(message, request, ACT, received_s)


def answered_together(gathering: Gathering, *clients: str, at_s: float, took_s: float) -> None:
    gathering.answered([job(client) for client in clients], at_s - took_s, at_s)


def test_nobody_is_waited_for_before_having_come_back_at_once() -> None:
    gathering = Gathering()
    assert gathering.expected(0.0) == (set(), 0.0)
    answered_together(gathering, "a", "b", at_s=10.0, took_s=0.05)
    assert gathering.expected(10.0)[0] == set()


def test_clients_that_came_back_at_once_are_waited_for_the_next_time() -> None:
    gathering = Gathering()
    answered_together(gathering, "a", "b", "slow", at_s=10.0, took_s=0.05)
    gathering.came([job("a", 10.001), job("b", 10.009), job("slow", 10.011)])
    answered_together(gathering, "a", "b", "slow", at_s=20.0, took_s=0.05)
    assert gathering.expected(20.0) == ({b"a", b"b"}, 20.0 + GATHER_SHARE * 0.05)
    gathering.came([job("a", 20.001)])
    assert gathering.expected(20.001)[0] == {b"b"}
    assert gathering.expected(20.011)[0] == set()


def test_a_wait_is_never_longer_than_the_limit() -> None:
    gathering = Gathering()
    for start_s in (10.0, 20.0):
        answered_together(gathering, "a", "b", at_s=start_s, took_s=5.0)
        gathering.came([job("a", start_s + 0.001)])
    answered_together(gathering, "a", "b", at_s=30.0, took_s=5.0)
    assert gathering.expected(30.0) == ({b"a"}, 30.0 + GATHER_S)


def test_a_client_that_came_late_is_waited_for_no_more() -> None:
    gathering = Gathering()
    answered_together(gathering, "a", "b", at_s=10.0, took_s=0.05)
    gathering.came([job("a", 10.001), job("b", 10.001)])
    answered_together(gathering, "a", "b", at_s=20.0, took_s=0.05)
    gathering.came([job("a", 20.001), job("b", 20.5)])
    answered_together(gathering, "a", "b", at_s=30.0, took_s=0.05)
    assert gathering.expected(30.0)[0] == {b"a"}


def test_a_client_that_was_answered_alone_is_never_waited_for() -> None:
    gathering = Gathering()
    answered_together(gathering, "a", "b", at_s=10.0, took_s=0.05)
    gathering.came([job("a", 10.001), job("b", 10.001)])
    answered_together(gathering, "a", at_s=20.0, took_s=0.05)
    answered_together(gathering, "b", "b", at_s=21.0, took_s=0.05)  # its own two, in one call
    assert gathering.expected(20.0)[0] == set()
    assert gathering.expected(21.0)[0] == set()


def test_clients_that_came_back_once_and_went_are_forgotten_in_the_end() -> None:
    gathering = Gathering()
    answered_together(gathering, "stays", "too", at_s=10.0, took_s=0.05)
    gathering.came([job("stays", 10.001), job("too", 10.001)])
    for number in range(CLIENTS_KEPT):
        at_s = 20.0 + number
        answered_together(gathering, f"a{number}", f"b{number}", at_s=at_s, took_s=0.05)
        gathering.came([job(f"a{number}", at_s + 0.001), job(f"b{number}", at_s + 0.001)])
        answered_together(gathering, "stays", "too", at_s=at_s, took_s=0.05)
        gathering.came([job("stays", at_s + 0.001), job("too", at_s + 0.001)])
    kept = [held for held in vars(gathering).values() if hasattr(held, "__len__")]
    assert all(len(held) <= CLIENTS_KEPT for held in kept)
    answered_together(gathering, "stays", "too", at_s=9999.0, took_s=0.05)
    assert gathering.expected(9999.0)[0] == {b"stays", b"too"}
