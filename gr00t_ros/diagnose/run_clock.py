# SPDX-License-Identifier: Apache-2.0
"""The time of a run whose clock was set while it was recorded. Pure."""

from __future__ import annotations

from gr00t_ros.diagnose.run import ClockJump

SET_BACK_S = 0.1  # messages of one topic, from several publishers, may cross by less
PAUSE_S = 2.0  # without any message; the statuses of both nodes come twice a second


class RunClock:
    """Turns the recorder's times into those of a clock that was never set.

    Where the recorder's clock jumps, this one stands for a moment. A recorder writes the topics one
    after the other, so the messages of a topic from before a jump may follow it. Until a topic has
    come to the clock after the jump, each of its times is read by the clock that makes it closer to
    the newest time.

    Attributes:
        jumps: Where the recorder's clock was set, or nothing was recorded.
    """

    def __init__(self) -> None:
        self.jumps: list[ClockJump] = []
        self._offsets_s = (0.0,)  # from the recorder's clock to this one, after the newest jumps
        self._now_s: float | None = None
        self._received_s: dict[str, float] = {}  # the newest message of each topic, by this clock
        self._topics_after: set[str] = set()  # that have come to the clock after the newest jump

    def receive(self, topic: str, received_s: float) -> float:
        """The time at which a message of a topic was received, s.

        Args:
            topic: Its name. The messages of a topic come in order.
            received_s: The same time by the recorder's clock.
        """
        now_s = received_s if self._now_s is None else self._now_s
        newest_s = received_s + self._offsets_s[-1]
        time_s = newest_s if topic in self._topics_after else self.near(received_s, now_s)
        before_s = self._received_s.get(topic, time_s)
        if not before_s - SET_BACK_S <= time_s <= now_s + PAUSE_S:
            time_s = newest_s = self._jump(received_s, now_s)
        if time_s == newest_s:
            self._topics_after.add(topic)
        self._received_s[topic] = time_s
        self._now_s = max(now_s, time_s)
        return time_s

    def near(self, stamp_s: float, time_s: float) -> float:
        """A stamp by this clock, s.

        Args:
            stamp_s: The stamp, by the recorder's clock before or after its newest jump.
            time_s: A time by this clock that is close to it.
        """
        return min(
            (stamp_s + offset_s for offset_s in self._offsets_s),
            key=lambda candidate_s: abs(candidate_s - time_s),
        )

    def _jump(self, received_s: float, now_s: float) -> float:
        """Stand at `now_s` where the recorder's clock jumps to `received_s`; returns `now_s`."""
        before_s = self._offsets_s[-1]
        self.jumps.append(ClockJump(now_s, received_s + before_s - now_s))
        self._offsets_s = (before_s, now_s - received_s)
        self._topics_after.clear()
        return now_s
