# SPDX-License-Identifier: Apache-2.0
"""A batch waits only for clients that are known to ask again at once. No test sleeps."""

from gr00t_policy_core.serving.server.batch_window import (
    MAX_CLIENTS,
    MAX_WINDOW_S,
    WINDOW_SHARE,
    BatchWindow,
)
from gr00t_policy_core.serving.server.endpoints import Endpoint
from gr00t_policy_core.serving.server.pending_request import PendingRequest
from gr00t_policy_core.serving.transport.base import Message
from gr00t_policy_core.serving.wire.envelope import Request

ACT = Endpoint.of("get_action", lambda observation: None, True)


def asked(client: str, received_s: float = 0.0) -> PendingRequest:
    request = Request("get_action", None, False, None)
    message = Message([client.encode()], None, "", "127.0.0.1")
    return PendingRequest(message, request, ACT, received_s)


def answered_together(window: BatchWindow, *clients: str, at_s: float, took_s: float) -> None:
    window.answered([asked(client) for client in clients], at_s - took_s, at_s)


def test_nobody_is_waited_for_before_having_come_back_at_once() -> None:
    window = BatchWindow()
    assert window.expected(0.0) == (set(), 0.0)
    answered_together(window, "a", "b", at_s=10.0, took_s=0.05)
    assert window.expected(10.0)[0] == set()


def test_clients_that_came_back_at_once_are_waited_for_the_next_time() -> None:
    window = BatchWindow()
    answered_together(window, "a", "b", "slow", at_s=10.0, took_s=0.05)
    window.arrived([asked("a", 10.001), asked("b", 10.009), asked("slow", 10.011)])
    answered_together(window, "a", "b", "slow", at_s=20.0, took_s=0.05)
    assert window.expected(20.0) == ({b"a", b"b"}, 20.0 + WINDOW_SHARE * 0.05)
    window.arrived([asked("a", 20.001)])
    assert window.expected(20.001)[0] == {b"b"}
    assert window.expected(20.011)[0] == set()


def test_a_wait_is_never_longer_than_the_limit() -> None:
    window = BatchWindow()
    for start_s in (10.0, 20.0):
        answered_together(window, "a", "b", at_s=start_s, took_s=5.0)
        window.arrived([asked("a", start_s + 0.001)])
    answered_together(window, "a", "b", at_s=30.0, took_s=5.0)
    assert window.expected(30.0) == ({b"a"}, 30.0 + MAX_WINDOW_S)


def test_a_client_that_came_late_is_waited_for_no_more() -> None:
    window = BatchWindow()
    answered_together(window, "a", "b", at_s=10.0, took_s=0.05)
    window.arrived([asked("a", 10.001), asked("b", 10.001)])
    answered_together(window, "a", "b", at_s=20.0, took_s=0.05)
    window.arrived([asked("a", 20.001), asked("b", 20.5)])
    answered_together(window, "a", "b", at_s=30.0, took_s=0.05)
    assert window.expected(30.0)[0] == {b"a"}


def test_a_client_that_was_answered_alone_is_never_waited_for() -> None:
    window = BatchWindow()
    answered_together(window, "a", "b", at_s=10.0, took_s=0.05)
    window.arrived([asked("a", 10.001), asked("b", 10.001)])
    answered_together(window, "a", at_s=20.0, took_s=0.05)
    answered_together(window, "b", "b", at_s=21.0, took_s=0.05)  # its own two, in one call
    assert window.expected(20.0)[0] == set()
    assert window.expected(21.0)[0] == set()


def test_clients_that_came_back_once_and_went_are_forgotten_in_the_end() -> None:
    window = BatchWindow()
    answered_together(window, "stays", "too", at_s=10.0, took_s=0.05)
    window.arrived([asked("stays", 10.001), asked("too", 10.001)])
    for number in range(MAX_CLIENTS):
        at_s = 20.0 + number
        answered_together(window, f"a{number}", f"b{number}", at_s=at_s, took_s=0.05)
        window.arrived([asked(f"a{number}", at_s + 0.001), asked(f"b{number}", at_s + 0.001)])
        answered_together(window, "stays", "too", at_s=at_s, took_s=0.05)
        window.arrived([asked("stays", at_s + 0.001), asked("too", at_s + 0.001)])
    kept = [held for held in vars(window).values() if hasattr(held, "__len__")]
    assert all(len(held) <= MAX_CLIENTS for held in kept)
    answered_together(window, "stays", "too", at_s=9999.0, took_s=0.05)
    assert window.expected(9999.0)[0] == {b"stays", b"too"}
