# SPDX-License-Identifier: Apache-2.0
"""Finds controllers that go on by the path before, although they were sent a way to rest.

A controller rejects a trajectory that ended before it arrived. So a way to rest is lost where the
network, or the machine of the controller, stalls: the robot goes on to the end of its path.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, replace

import numpy as np

from gr00t_policy_core.control.chunk import Row
from gr00t_policy_core.control.measured_ahead import MeasuredAhead
from gr00t_policy_core.control.sent_path import SAME, SentPath, SentStop
from gr00t_policy_core.control.trajectory import Trajectory

# A robot follows its path with a delay of up to this, ns. A judgement: small arms follow 0.1 s
# behind. So it should have come to rest that long after the end of its way to rest.
MAX_DELAY_NS = 200_000_000
DELAYS_NS = np.arange(0, MAX_DELAY_NS + 1, 10_000_000)  # those that are tried
# What it does then is judged after this time, ns, in which the path before has gone on by this
# much, rad (or m): more than the noise of an encoder.
TELLING_NS, TELLING_WAY = 100_000_000, 0.01
# It has stopped if it has gone less than this share of that way. A judgement.
STOPPED = 0.5
# It has missed the stop if it is further than this from its rest, rad (or m), as many times nearer
# to where the path before was within the last `MAX_DELAY_NS`, and has gone the same way as that,
# but for a share. Judgements: an arm at rest sags by less, and somebody who pushes it does not push
# all of its joints along their path, at its speed.
MISSED, NEARER, SAME_WAY = 0.05, 3.0, 0.2


@dataclass(frozen=True, slots=True)
class MissedStop:
    """A stop that controllers have not carried out, and what has them brake again.

    Args:
        keys: The action keys of these controllers.
        trajectory: The way to rest from where they are. It counts as sent.
    """

    keys: frozenset[str]
    trajectory: Trajectory


class Verdict(enum.Enum):
    """Whether joints carry out a stop."""

    OPEN = enum.auto()  # not known yet
    STOPPED = enum.auto()
    MISSED = enum.auto()  # they go on by the path before


class StopWatch:
    """Compares the measured robot with its way to rest, and with the path that it should leave.

    Args:
        path: What the controllers were sent.
    """

    def __init__(self, path: SentPath) -> None:
        self._path = path
        self._stop: SentStop | None = None
        self._watched: dict[str, WatchedJoints] = {}  # by their action keys

    def missed_by(self, measured: MeasuredAhead, now_ns: int) -> frozenset[str]:
        """The action keys whose controllers have missed the newest stop; call it at every tick.

        With one that has missed it come those that are not told yet, and nearer to the path before.

        Args:
            measured: Where the robot is.
            now_ns: The present, ns. Once the path before is over, nothing is watched any longer.
        """
        if self._path.stop is not self._stop:
            self._begin(self._path.stop, measured)
        if self._stop is None:
            return frozenset()
        watched = self._watched
        verdicts = {key: joints.judge(measured) for key, joints in watched.items()}
        if Verdict.MISSED not in verdicts.values():
            is_over = now_ns > self._stop.before.end_ns + MAX_DELAY_NS
            if is_over or Verdict.OPEN not in verdicts.values():
                self._path.settle()
            return frozenset()
        going_on = {key for key, verdict in verdicts.items() if verdict is not Verdict.STOPPED}
        return frozenset(key for key in going_on if watched[key].is_nearer_before)

    def _begin(self, stop: SentStop | None, measured: MeasuredAhead) -> None:
        self._stop, self._watched = stop, {}
        if stop is None:
            return
        for key, part in self._path.slices.items():
            columns = [i for i in range(part.start, part.stop) if i in measured.positions]
            if columns and self._path.is_sent[columns].all():
                self._watched[key] = WatchedJoints(stop, columns, measured)


class WatchedJoints:
    """Measured joints of one action key, whose controller was sent a way to rest.

    Args:
        stop: The way to rest, and the path before.
        columns: Where the joints lie in its rows.
        measured: Where they are at first.

    Attributes:
        is_nearer_before: Whether they were nearer to the path before than to their rest when they
            were judged last.
    """

    def __init__(self, stop: SentStop, columns: list[int], measured: MeasuredAhead) -> None:
        self._before = replace(stop.before, rows=stop.before.rows[:, columns], slices={})
        self._rest = replace(stop.rest, rows=stop.rest.rows[:, columns], slices={})
        self._columns = columns
        self._verdict = Verdict.OPEN
        self._judged_ns: int | None = None
        self._stopped = self._measured(measured)  # when the stop was sent, ns, and where they were
        self._began: tuple[int, Row] | None = None  # when they should have rested
        self._along: tuple[int, Row] | None = None  # since when they go along the path before
        self.is_nearer_before = False

    def judge(self, measured: MeasuredAhead) -> Verdict:
        """Judge them by their newest measurements; a verdict stays."""
        stamp_ns, place = self._measured(measured)
        if self._verdict is Verdict.OPEN and stamp_ns != self._judged_ns:
            self._judged_ns = stamp_ns
            self._verdict = self._judge(stamp_ns, place)
        return self._verdict

    def _measured(self, measured: MeasuredAhead) -> tuple[int, Row]:
        stamp_ns = min(measured.stamps_ns[i] for i in self._columns)
        return stamp_ns, np.array([measured.positions[i] for i in self._columns])

    def _judge(self, stamp_ns: int, place: Row) -> Verdict:
        if self._rest.moves_from(stamp_ns - MAX_DELAY_NS).max() > SAME:
            return Verdict.OPEN
        off = float(np.abs(place - self._rest.row_at(stamp_ns)).max())
        distances = np.abs(self._before.rows_at(stamp_ns - DELAYS_NS) - place).max(axis=1)
        nearest = int(distances.argmin())
        self.is_nearer_before = bool(distances[nearest] < off)
        is_on_path = NEARER * distances[nearest] < off
        if self._before.moves_from(stamp_ns).max() < MISSED:
            goes_along = self._goes_along(self._stopped, stamp_ns, place, nearest)
            is_missed = is_on_path and off > MISSED and goes_along
            return Verdict.MISSED if is_missed else Verdict.STOPPED
        if self._stays(stamp_ns, place):
            return Verdict.STOPPED
        if not is_on_path:
            self._along = None
            return Verdict.OPEN
        is_told = self._time_along_ns(stamp_ns, place, nearest) >= TELLING_NS
        return Verdict.MISSED if is_told and off > MISSED else Verdict.OPEN

    def _stays(self, stamp_ns: int, place: Row) -> bool:
        """Whether the joints stay where they are while the path before goes on, at every delay."""
        if self._began is None:
            self._began = stamp_ns, place
        since_ns, began_at = self._began
        if stamp_ns - since_ns < TELLING_NS:
            return False
        before = self._before.rows_at(since_ns - DELAYS_NS)
        ways = self._before.rows_at(stamp_ns - DELAYS_NS) - before
        is_telling = np.abs(ways).max(axis=1) >= TELLING_WAY
        stay = ways @ (place - began_at) < STOPPED * (ways * ways).sum(axis=1)
        return bool((is_telling & stay).all())

    def _time_along_ns(self, stamp_ns: int, place: Row, delay: int) -> int:
        """How long the joints have gone along the path before, at the delay of an index, ns."""
        if self._along is not None:
            goes_along = self._goes_along(self._along, stamp_ns, place, delay)
            if goes_along is None:
                return 0
            if goes_along:
                return stamp_ns - self._along[0]
        self._along = stamp_ns, place
        return 0

    def _goes_along(
        self, since: tuple[int, Row], stamp_ns: int, place: Row, delay: int
    ) -> bool | None:
        """Whether the joints have gone the way of the path before, at the delay of an index.

        None where that has hardly gone on.
        """
        since_ns, came_from = since
        before, now = self._before.rows_at(np.array([since_ns, stamp_ns]) - DELAYS_NS[delay])
        longest = float(np.abs(now - before).max())
        if longest < TELLING_WAY:
            return None
        beside = np.abs(place - came_from - (now - before)).max()
        return bool(beside < SAME_WAY * longest)
