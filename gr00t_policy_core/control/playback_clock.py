# SPDX-License-Identifier: Apache-2.0
"""The time that chunks are played by: even steps of one control period, close to the real time.

A tick comes a little late or a little early. Sampled at those instants, a smooth path would
tremble: at 100 Hz and 1 rad/s, 0.1 ms of jitter makes third differences of 8e-4 rad, more than a
jerk limit of 500 rad/s^3 allows. The playback time therefore goes on by exactly one period from
tick to tick, and follows the real time slowly.

A tick that comes a whole period late or more is a stall: no command went out meanwhile, and the
robot stood at the last one. That time does not pass for what is played.
"""

from __future__ import annotations

from dataclasses import dataclass

# Share of the distance to the real time that is closed at each tick. 0.3 ms of jitter becomes
# 0.6 us, and a clock that drifts by 500 ppm is followed within 2.5 ms at 100 Hz.
FOLLOWED_SHARE = 0.002
# A clock that goes back by less is jitter between machines; by more, it was set back.
CLOCK_JUMP_NS = 500_000_000


@dataclass(frozen=True, slots=True)
class PlaybackTick:
    """The effect of one tick of the control loop on the playback time.

    Args:
        now_ns: The playback time of the tick, ns.
        stalled_ns: Real time that did not pass for what is played, ns; negative where the clock
            went back a little.
        set_back_ns: How far the clock was set back, ns; 0 where it was not.
    """

    now_ns: int
    stalled_ns: int = 0
    set_back_ns: int = 0


class PlaybackClock:
    """Turns the instants of ticks into even playback time.

    Args:
        period_ns: Time between two ticks, ns.
    """

    def __init__(self, period_ns: int) -> None:
        self._period_ns = period_ns
        self._ticked_ns: int | None = None  # playback time of the newest tick
        self._really_ticked_ns = 0

    def tick(self, now_ns: int) -> PlaybackTick:
        """Advance to the next tick of the control loop.

        Args:
            now_ns: The real time of the tick, ns.
        """
        last_ns = self._ticked_ns
        tick = PlaybackTick(now_ns) if last_ns is None else self._tick_after(last_ns, now_ns)
        self._ticked_ns, self._really_ticked_ns = tick.now_ns, now_ns
        return tick

    def _tick_after(self, ticked_ns: int, now_ns: int) -> PlaybackTick:
        if now_ns < ticked_ns - CLOCK_JUMP_NS:
            return PlaybackTick(now_ns, set_back_ns=ticked_ns - now_ns)
        due_ns = ticked_ns + self._period_ns
        late_ns = now_ns - due_ns
        if abs(late_ns) < self._period_ns:
            return PlaybackTick(due_ns + round(FOLLOWED_SHARE * late_ns))
        return PlaybackTick(now_ns, late_ns)

    def at(self, now_ns: int) -> int:
        """The playback time of an instant between two ticks, ns; never beyond the next tick.

        Before the first tick it starts the clock: that tick may be late, too. A clock that was set
        back since the last tick is believed.
        """
        if self._ticked_ns is None:
            self._ticked_ns = self._really_ticked_ns = now_ns
        since_ns = now_ns - self._really_ticked_ns
        if since_ns < -CLOCK_JUMP_NS:
            return now_ns
        return self._ticked_ns + min(max(since_ns, 0), self._period_ns)
