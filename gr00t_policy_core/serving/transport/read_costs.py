# SPDX-License-Identifier: Apache-2.0
"""What it costs to read messages, and who has to pause for it.

Python runs one thread at a time: whoever has messages read that are expensive to read takes the
time of all others. The cost is counted in items: keys, values and list items that are read word by
word, 0.5 to 1 µs each. A robot's messages cost nearly nothing
(`gr00t_policy_core.serving.wire.message_templates`).
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict

FREE_ITEMS = 200  # of each message: as many as that of a robot has, when it is read word by word
REFUSED_ITEMS = 250  # what a message costs that is malformed or carries a wrong token
ITEMS_PER_S = 50_000.0  # for all expensive messages of an address: some 4 % of a CPU
BURST_ITEMS = 50_000.0
OWN_ITEMS_PER_S = 1_000.0  # for those of a connection that need not pause
OWN_BURST_ITEMS = 2_000.0
KEPT_ADDRESSES = 1024


class Debt:
    """What was used and is worked off at a steady rate; thread-safe.

    Args:
        per_s: The rate.
        burst: As much is no reason to wait.
    """

    __slots__ = ("_burst", "_lock", "_owed", "_per_s", "_since_s")

    def __init__(self, per_s: float, burst: float) -> None:
        self._per_s = per_s
        self._burst = burst
        self._lock = threading.Lock()
        self._owed = 0.0
        self._since_s = 0.0

    def add(self, used: float) -> None:
        """Use something."""
        with self._lock:
            now_s = time.monotonic()
            self._owed = self._left(now_s) + used
            self._since_s = now_s

    @property
    def wait_s(self) -> float:
        """How long it takes until the debt is small again."""
        if not self._owed:
            return 0.0
        with self._lock:
            return max(0.0, self._left(time.monotonic()) - self._burst) / self._per_s

    def _left(self, now_s: float) -> float:
        return max(0.0, self._owed - (now_s - self._since_s) * self._per_s)


class Cost:
    """What the messages of one connection have cost.

    Args:
        of_address: What all connections of its address have cost.
    """

    __slots__ = ("_of_address", "_own")

    def __init__(self, of_address: Debt) -> None:
        self._of_address = of_address
        self._own = Debt(OWN_ITEMS_PER_S, OWN_BURST_ITEMS)

    def add(self, items: int) -> None:
        """Of a message so many items were read."""
        if items > FREE_ITEMS:
            self._own.add(items - FREE_ITEMS)
            self._of_address.add(items - FREE_ITEMS)

    @property
    def pause_s(self) -> float:
        """How long nothing more should be read of it: as long as its address owes too much.

        A connection that has no part in that debt need not pause.
        """
        return self._of_address.wait_s if self._own.wait_s else 0.0


class Costs:
    """What addresses owe, also after they have connected anew; thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._by_address: OrderedDict[str, Debt] = OrderedDict()

    def of(self, address: str) -> Cost:
        """The account of another connection of an address."""
        with self._lock:
            debt = self._by_address.pop(address, None) or Debt(ITEMS_PER_S, BURST_ITEMS)
            self._by_address[address] = debt
            if len(self._by_address) > KEPT_ADDRESSES:
                self._by_address.popitem(last=False)
            return Cost(debt)
