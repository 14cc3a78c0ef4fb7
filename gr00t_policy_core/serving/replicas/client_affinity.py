# SPDX-License-Identifier: Apache-2.0
"""Where clients are, of a policy that may keep something for each of them."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any, TypeAlias

from gr00t_policy_core.serving.replicas.slot import Slot

CLIENTS_KEPT = 256  # those that asked last

Call: TypeAlias = tuple[Any, ...]  # a method's name and its arguments


class Places:
    """The replica that each client stays with, and the last call for it to all of them.

    Not thread-safe. A client without a name is nowhere.
    """

    def __init__(self) -> None:
        self._homes: OrderedDict[str, tuple[Slot, int]] = OrderedDict()  # and its life then
        self._calls: OrderedDict[str, Call] = OrderedDict()

    def home(self, client: str) -> Slot | None:
        """Where a client's place is; None for a new one, and where its replica is gone or going."""
        slot, life = self._homes.get(client, (None, 0))
        return None if slot is None or slot.lives != life or slot.leaving else slot

    def settle(self, client: str, slot: Slot) -> None:
        """It stays there from now on."""
        _put(self._homes, client, (slot, slot.lives))

    def count(self, slot: Slot) -> int:
        """How many stay there."""
        return sum(home is slot for home, _ in self._homes.values())

    def remember(self, client: str, call: Call) -> None:
        """What every replica has been called for it."""
        _put(self._calls, client, call)

    def calls(self) -> dict[str, Call]:
        """The last of these calls for each client."""
        return dict(self._calls)


def _put(table: OrderedDict[str, Any], client: str, value: Any) -> None:
    if client:
        table[client] = value
        table.move_to_end(client)
        if len(table) > CLIENTS_KEPT:
            table.popitem(last=False)
