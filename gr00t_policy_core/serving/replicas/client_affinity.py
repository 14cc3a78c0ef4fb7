# SPDX-License-Identifier: Apache-2.0
"""Keeps each client with one replica, for policies with a state between requests."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any, TypeAlias

from gr00t_policy_core.serving.replicas.replica_slot import ReplicaSlot

MAX_CLIENTS = 256  # the most recent ones are remembered

Call: TypeAlias = tuple[Any, ...]  # the name of a method, and its arguments


class ClientAffinity:
    """Remembers each client's replica, and the client's last call to all replicas.

    Not thread-safe. A client without an id is not remembered.
    """

    def __init__(self) -> None:
        # The replica, and its generation when the client was assigned.
        self._replicas: OrderedDict[str, tuple[ReplicaSlot, int]] = OrderedDict()
        self._calls: OrderedDict[str, Call] = OrderedDict()

    def replica_of(self, client: str) -> ReplicaSlot | None:
        """The replica that holds a client's state; None where none does, or it is ending."""
        slot, generation = self._replicas.get(client, (None, 0))
        if slot is None or slot.generation != generation or slot.is_leaving:
            return None
        return slot

    def assign(self, client: str, slot: ReplicaSlot) -> None:
        """Keep a client with a replica from here on."""
        _remember(self._replicas, client, (slot, slot.generation))

    def clients_of(self, slot: ReplicaSlot) -> int:
        """How many clients a replica has."""
        return sum(assigned is slot for assigned, _ in self._replicas.values())

    def record_call(self, client: str, call: Call) -> None:
        """Record a call that was made in all replicas on behalf of a client."""
        _remember(self._calls, client, call)

    def calls(self) -> dict[str, Call]:
        """The last such call of each client."""
        return dict(self._calls)


def _remember(table: OrderedDict[str, Any], client: str, value: Any) -> None:
    if client:
        table[client] = value
        table.move_to_end(client)
        if len(table) > MAX_CLIENTS:
            table.popitem(last=False)
