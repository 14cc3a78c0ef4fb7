# SPDX-License-Identifier: Apache-2.0
"""Which request is next, and which one loses its place, when many clients wait for one policy."""

import itertools
import threading
import time
from dataclasses import replace
from types import SimpleNamespace

import pytest

from gr00t_policy_core.serving.server import fair_queue, pending_request
from gr00t_policy_core.serving.server.endpoints import Endpoint
from gr00t_policy_core.serving.server.fair_queue import FairQueue
from gr00t_policy_core.serving.server.pending_request import PendingRequest
from gr00t_policy_core.serving.transport.base import Message, Sender
from gr00t_policy_core.serving.wire.envelope import Request

ACT = Endpoint.of("get_action", lambda observation: None, True)
RESET = Endpoint.of("reset", lambda: None, False)


def pending(
    client: str,
    number: int = 0,
    size: int = 1,
    endpoint: Endpoint = ACT,
    *,
    address: str = "127.0.0.1",
    name: str | None = None,
    sender: Sender | None = None,
) -> PendingRequest:
    body = memoryview(bytes(size))
    route = [client.encode(), str(number).encode()]
    message = Message(route, body, "", address, sender or Sender(address))
    return PendingRequest(message, Request(endpoint.name, None, False, None, name), endpoint)


def names(requests: list[PendingRequest]) -> list[str]:
    return [f"{each.connection.decode()}{each.route[1].decode()}" for each in requests]


def filled(*requests: PendingRequest, max_requests: int = 100, max_bytes: int = 10**9) -> FairQueue:
    queue = FairQueue(max_requests, max_bytes)
    for each in requests:
        assert queue.put(each) == []
    return queue


def drained(queue: FairQueue) -> list[PendingRequest]:
    requests = []
    while len(queue):
        requests.append(queue.take())
        queue.done(requests[-1:], 0.0)
    return requests


def acts(each: PendingRequest) -> bool:
    return each.endpoint is ACT


def test_clients_take_turns_and_each_keeps_its_order() -> None:
    queue = filled(
        *(pending("a", n) for n in range(4)), pending("b", 0), pending("c", 0), pending("c", 1)
    )
    assert names(drained(queue)) == ["a0", "b0", "c0", "a1", "c1", "a2", "a3"]
    assert len(queue) == 0
    assert queue.waiting_bytes == 0


def test_a_client_that_was_served_waits_for_the_others() -> None:
    queue = filled(pending("a", 0), pending("b", 0))
    first = queue.take()
    assert names([first]) == ["a0"]
    queue.done([first], 0.0)
    queue.put(pending("a", 1))
    assert names(drained(queue)) == ["b0", "a1"]


def test_more_are_taken_in_turns_too() -> None:
    queue = filled(*(pending("a", n) for n in range(3)), pending("b", 0), pending("c", 0))
    first = queue.take()
    more = queue.take_more(first, 3, acts)
    assert names([first, *more]) == ["a0", "b0", "c0", "a1"]
    queue.done([first, *more], 0.0)
    assert names(drained(queue)) == ["a2"]


def test_nothing_passes_an_earlier_request_of_the_same_client() -> None:
    queue = filled(
        pending("a", 0), pending("a", 1, endpoint=RESET), pending("a", 2), pending("b", 0)
    )
    first = queue.take()
    more = queue.take_more(first, 10, acts)
    assert names([first, *more]) == ["a0", "b0"]
    queue.done([first, *more], 0.0)
    assert names(drained(queue)) == ["a1", "a2"]


def test_a_clients_next_request_waits_until_the_one_before_it_is_done() -> None:
    queue = filled(pending("a", 0), pending("a", 1), pending("b", 0), pending("b", 1))
    in_one_thread, in_another = queue.take(), queue.take()
    assert names([in_one_thread, in_another]) == ["a0", "b0"]
    assert names(queue.take_more(in_one_thread, 10, acts)) == ["a1"]  # in the thread that has a0
    taken: list[PendingRequest | None] = []
    waiting = threading.Thread(target=lambda: taken.append(queue.take()))
    waiting.start()
    queue.done([in_one_thread], 0.0)
    waiting.join(0.05)
    assert waiting.is_alive()
    queue.done([in_another], 0.0)
    waiting.join(10)
    assert names(taken) == ["b1"]


def test_addresses_take_turns_however_many_connections_one_has() -> None:
    queue = filled(
        *(pending(f"many{n}.", 0, address="A") for n in range(4)), pending("b", 0, address="B")
    )
    queue.put(pending("b", 1, address="B"))
    assert names(drained(queue)) == ["many0.0", "b0", "many1.0", "b1", "many2.0", "many3.0"]


def test_a_client_that_connects_anew_keeps_its_place() -> None:
    queue = filled(pending("a", 0, name="arm"), pending("b", 0))
    first = queue.take()
    assert names([first]) == ["a0"]
    for connection in ("c", "d", "e"):
        queue.put(pending(connection, 0, name="arm"))
    queue.put(pending("f", 0))
    queue.done([first], 0.0)
    assert names(drained(queue)) == ["b0", "c0", "f0", "d0", "e0"]


def test_what_a_connection_that_has_ended_asked_for_is_dropped() -> None:
    leaves, stays = Sender("A"), Sender("A")
    queue = filled(
        *(pending("a", n, address="A", sender=leaves) for n in range(3)),
        pending("b", 0, address="A", sender=stays),
    )
    assert names(queue.drop(leaves)) == ["a0", "a1", "a2"]
    assert len(queue) == 1
    assert queue.waiting_bytes == 1
    assert names(drained(queue)) == ["b0"]
    assert queue.drop(stays) == []


def test_who_fills_the_queue_from_many_connections_makes_room_for_other_addresses() -> None:
    queue = filled(*(pending(f"many{n}.", address="A") for n in range(4)), max_requests=4)
    assert names(queue.put(pending("b", address="B"))) == ["many3.0"]
    assert names(queue.put(pending("b", 1, address="B"))) == ["many2.0"]
    assert names(queue.put(pending("b", 2, address="B"))) == ["b2"]
    assert names(queue.put(pending("many9.", address="A"))) == ["many9.0"]


def test_six_clients_that_wait_a_second_are_answered_in_time(monkeypatch) -> None:
    """By a policy of 0.2 s, on a clock of the test's own; nothing says how long they wait."""
    clock = SimpleNamespace(now_s=0.0)
    for module in (pending_request, fair_queue):
        monkeypatch.setattr(
            module, "time", SimpleNamespace(monotonic=lambda: clock.now_s), raising=True
        )
    queue = FairQueue(64, 10**9)
    connections = itertools.count()
    waiting: dict[Sender, PendingRequest] = {}

    def ask(sender: Sender) -> None:
        asked = replace(pending(f"c{next(connections)}.", sender=sender), received_s=clock.now_s)
        waiting[sender] = asked
        assert queue.put(asked) == []

    def let_time_pass(duration_s: float) -> None:
        ends_s = clock.now_s + duration_s
        while clock.now_s < ends_s:
            clock.now_s += 0.001
            for sender, asked in list(waiting.items()):
                if clock.now_s - asked.received_s >= 1.0:
                    del waiting[sender]
                    queue.drop(sender)
                    ask(Sender("A"))

    for _ in range(6):
        ask(Sender("A"))
        let_time_pass(0.05)
    in_time = 0
    while clock.now_s < 20.0:
        taken = queue.take()
        let_time_pass(0.2)
        queue.done([taken], 0.2)
        sender = taken.message.sender
        if waiting.get(sender) is taken:
            in_time += clock.now_s > 10.0
            ask(sender)
    assert in_time >= 40


def test_beyond_the_limit_the_new_one_goes() -> None:
    queue = filled(pending("a", 0), pending("b", 0), max_requests=2)
    assert names(queue.put(pending("c", 0))) == ["c0"]
    assert names(drained(queue)) == ["a0", "b0"]


def test_whoever_fills_the_queue_makes_room_for_others() -> None:
    queue = filled(*(pending("greedy", n) for n in range(4)), max_requests=4)
    assert names(queue.put(pending("a"))) == ["greedy3"]
    assert names(queue.put(pending("greedy", 4))) == ["greedy4"]
    assert names(queue.put(pending("b"))) == ["greedy2"]
    assert names(drained(queue)) == ["greedy0", "a0", "b0", "greedy1"]


def test_bytes_are_limited_but_one_message_always_fits() -> None:
    queue = filled(pending("a", 0, size=60), max_bytes=100)
    assert names(queue.put(pending("b", 0, size=50))) == ["b0"]
    assert queue.put(pending("b", 1, size=40)) == []
    assert queue.waiting_bytes == 100
    assert names(drained(queue)) == ["a0", "b1"]
    assert queue.put(pending("c", 0, size=1000)) == []


@pytest.mark.parametrize("closes", [False, True])
def test_take_waits_for_a_request_or_the_end(closes: bool) -> None:
    queue = FairQueue(1, 1)
    taken: list[PendingRequest | None] = []
    waiting = threading.Thread(target=lambda: taken.append(queue.take()))
    waiting.start()
    if closes:
        queue.close()
    else:
        queue.put(pending("a"))
    waiting.join(10)
    assert not waiting.is_alive()
    assert (taken == [None]) is closes


def test_close_gives_back_what_waits_and_takes_no_more() -> None:
    queue = filled(pending("a"), pending("b"))
    assert names(queue.close()) == ["a0", "b0"]
    assert names(queue.put(pending("c"))) == ["c0"]
    assert queue.take() is None


def test_waiting_for_company_ends_with_it_or_with_enough_or_with_its_time() -> None:
    queue = filled(pending("a"), pending("b"))
    queue.wait_for({b"a", b"b"}, 10, time.monotonic() + 60)
    queue.wait_for({b"c"}, 2, time.monotonic() + 60)
    queue.wait_for({b"c"}, 10, time.monotonic() - 1)
    queue.wait_for({b"c"}, 10, time.monotonic() + 0.01)
    assert len(queue) == 2


def test_all_of_a_message_counts_not_only_its_data():
    message = Message([b"a"], memoryview(bytes(100)), "", "127.0.0.1")
    data = memoryview(b"\xc0")
    assert PendingRequest(message, Request(ACT.name, None, False, data), ACT).size == 100


def test_a_client_whose_request_another_thread_has_is_not_waited_for() -> None:
    queue = filled(pending("a"))
    assert names([queue.take()]) == ["a0"]
    idle = threading.Thread(target=queue.take)
    idle.start()
    while not queue._idle:
        time.sleep(0.001)
    waiting = threading.Thread(target=queue.wait_for, args=({b"b"}, 10, time.monotonic() + 60))
    waiting.start()
    queue.put(pending("b"))
    idle.join(10)
    waiting.join(10)
    assert not waiting.is_alive()


def test_threads_that_come_and_go_lose_and_double_no_request() -> None:
    queue = FairQueue(10_000, 10**9)
    taken: list[list[str]] = [[] for _ in range(4)]

    def work(mine: list[str]) -> None:
        while (first := queue.take()) is not None:
            batch = [first, *queue.take_more(first, 3, acts)]
            mine += names(batch)
            queue.done(batch, 0.0)

    workers = [threading.Thread(target=work, args=(mine,)) for mine in taken]
    for worker in workers:
        worker.start()
    for number in range(300):
        for client in "abcdef":
            assert queue.put(pending(client, number)) == []
    while len(queue):
        time.sleep(0.001)
    queue.close()
    for worker in workers:
        worker.join(10)
    assert sorted(itertools.chain(*taken)) == sorted(
        f"{c}{n}" for c in "abcdef" for n in range(300)
    )
