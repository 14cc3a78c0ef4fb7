# SPDX-License-Identifier: Apache-2.0
"""How long clients wait for a reply, as learned from those that gave up."""

from __future__ import annotations

from collections import OrderedDict, deque

MAX_WAITS = 32  # remembered per address: those of the clients that left last
MAX_ADDRESSES = 1024
REPLY_TIME_MARGIN = 1.25  # the next reply may take longer than the last one


class WaitHistory:
    """Remembers how long clients of each address waited before they left without a reply.

    A stock client does not say how long it waits. Under overload the oldest request is then the
    worst one to begin: its client leaves while the policy computes. (Simulated and measured with
    six clients that wait 1 s and a policy of 0.2 s: oldest first, every reply comes too late; with
    this history 5 replies a second come in time.)

    Not thread-safe.
    """

    def __init__(self) -> None:
        self._waits_s: OrderedDict[str, deque[float]] = OrderedDict()  # by address

    def record(self, address: str, waited_s: float) -> None:
        """Record that a client of `address` left after it had waited for `waited_s`."""
        self._waits_s.setdefault(address, deque(maxlen=MAX_WAITS)).append(waited_s)
        self._waits_s.move_to_end(address)
        if len(self._waits_s) > MAX_ADDRESSES:
            self._waits_s.popitem(last=False)

    def is_likely_to_wait(self, address: str, waited_s: float, reply_s: float) -> bool:
        """Predict whether a client is still there when its reply is ready.

        Args:
            address: The address of the client.
            waited_s: How long the client has waited so far.
            reply_s: How long the policy is expected to take.

        Returns:
            False if, of the recorded clients of this address that waited longer than `waited_s`,
            most left before a reply begun now would be ready. True where nothing is recorded.
        """
        longer = [wait_s for wait_s in self._waits_s.get(address, ()) if wait_s > waited_s]
        in_time = sum(wait_s > waited_s + REPLY_TIME_MARGIN * reply_s for wait_s in longer)
        return 2 * in_time >= len(longer)
