# SPDX-License-Identifier: Apache-2.0
"""The memory budget that connections share."""

from gr00t_policy_core.serving.transport.base import Sender
from gr00t_policy_core.serving.transport.memory_budget import MemoryBudget


class Connections:
    """Connections by name, which reserve memory, and the names of those that were evicted."""

    def __init__(self, max_bytes: int, *, requires_token: bool = False) -> None:
        self.budget = MemoryBudget(max_bytes, requires_token=requires_token)
        self.evicted: list[str] = []

    def reserve(self, name: str, address: str, size: int, *, authenticated: bool = False) -> Sender:
        sender = Sender(address, authenticated=authenticated)
        self.budget.reserve(sender, size, lambda why: self.evicted.append(name))
        return sender


def test_the_largest_and_oldest_of_the_address_that_holds_most_is_evicted():
    connections = Connections(100)
    connections.reserve("robot", "A", 30)
    connections.reserve("small", "B", 20)
    connections.reserve("large", "B", 50)
    connections.reserve("another", "A", 30)
    assert connections.evicted == ["large"]
    assert connections.budget.reserved_bytes == 80


def test_unauthenticated_connections_are_evicted_first_and_have_a_share_only():
    connections = Connections(100, requires_token=True)
    connections.reserve("authenticated", "A", 45, authenticated=True)
    connections.reserve("unauthenticated", "B", 40)
    connections.reserve("also unauthenticated", "C", 20)
    assert connections.evicted == ["unauthenticated"]
    connections.reserve("also authenticated", "A", 45, authenticated=True)
    assert connections.evicted == ["unauthenticated", "also unauthenticated"]


def test_the_frames_of_a_message_are_counted_together_and_released_together():
    connections = Connections(100)
    sender = connections.reserve("a", "A", 30)
    connections.budget.reserve(sender, 60, lambda why: None)
    assert connections.budget.reserved_bytes == 90
    for _ in range(2):
        connections.budget.release(sender)
        assert connections.budget.reserved_bytes == 0
