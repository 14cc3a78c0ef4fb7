# SPDX-License-Identifier: Apache-2.0
"""CPU time that messages cost the server before the policy is asked, and who has to pause for it.

Python runs one thread at a time: whoever has messages read that are expensive to read takes the
time of all others. A robot's messages cost nearly nothing (`gr00t_policy_core.serving.forms`).
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict

FREE_S = 100e-6  # of each message: what one that nobody has seen before costs at most, nearly
SHARE = 0.05  # of one CPU, for the expensive messages of one address
BURST_S = 0.05
OWN_SHARE = 0.002  # of one CPU, for those of one connection that need not pause
OWN_BURST_S = 0.001
KEPT_ADDRESSES = 1024


class Debt:
    """CPU time that was used and is worked off at a steady rate; thread-safe.

    Args:
        share: Of one CPU, the rate.
        burst_s: As much is no reason to wait.
    """

    __slots__ = ("_burst_s", "_lock", "_owed_s", "_share", "_since_s")

    def __init__(self, share: float, burst_s: float) -> None:
        self._share = share
        self._burst_s = burst_s
        self._lock = threading.Lock()
        self._owed_s = 0.0
        self._since_s = 0.0

    def add(self, cost_s: float) -> None:
        """Use CPU time."""
        with self._lock:
            now_s = time.monotonic()
            self._owed_s = self._left_s(now_s) + cost_s
            self._since_s = now_s

    @property
    def wait_s(self) -> float:
        """How long it takes until the debt is small again."""
        if not self._owed_s:
            return 0.0
        with self._lock:
            return max(0.0, self._left_s(time.monotonic()) - self._burst_s) / self._share

    def _left_s(self, now_s: float) -> float:
        return max(0.0, self._owed_s - (now_s - self._since_s) * self._share)


class Cost:
    """What the messages of one connection have cost.

    Args:
        of_address: What all connections of its address have cost.
    """

    __slots__ = ("_of_address", "_own")

    def __init__(self, of_address: Debt) -> None:
        self._of_address = of_address
        self._own = Debt(OWN_SHARE, OWN_BURST_S)

    def add(self, cost_s: float, *, free_s: float = FREE_S) -> None:
        """A message has cost so much CPU time, of which some is free."""
        if cost_s > free_s:
            self._own.add(cost_s - free_s)
            self._of_address.add(cost_s - free_s)

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
            debt = self._by_address.pop(address, None) or Debt(SHARE, BURST_S)
            self._by_address[address] = debt
            if len(self._by_address) > KEPT_ADDRESSES:
                self._by_address.popitem(last=False)
            return Cost(debt)
