# SPDX-License-Identifier: Apache-2.0
"""Finds controllers that go on by the path before, although they were sent a way to rest.

A controller rejects a trajectory that ended before it arrived. So a way to rest is lost where the
network, or the machine of the controller, stalls: the robot goes on to the end of its path.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

import numpy as np

from gr00t_policy_core.control.chunk import Row
from gr00t_policy_core.control.measured_ahead import MeasuredAhead
from gr00t_policy_core.control.sent_path import SAME, SentPath, SentStop
from gr00t_policy_core.control.trajectory import Trajectory

# A robot follows its path by so much later, ns, at most. A judgement: small arms do 0.1 s later. It
# should have come to rest that long after the end of its way to rest.
DELAY_NS = 200_000_000
# What it does then is judged after this time, ns, in which the path before has gone on by this
# much, rad (or m): more than the noise of an encoder.
TELLING_NS, TELLING_WAY = 100_000_000, 0.01
# It has stopped if it has gone less than this share of that way. A judgement.
STOPPED = 0.5
# It has missed the stop if it is further than this from its rest, rad (or m), as many times nearer
# to where the path before was within the last `DELAY_NS`, and has gone the same way as that, but
# for a share. Judgements: an arm at rest sags by less, and somebody who pushes it does not push all
# of its joints along their path, at its speed.
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

    OPEN = "not known yet"
    STOPPED = "they do"
    MISSED = "they go on by the path before"


class StopWatch:
    """Compares the measured robot with its way to rest, and with the path that it should leave.

    Args:
        path: What the controllers were sent.
    """

    def __init__(self, path: SentPath) -> None:
        self._path = path
        self._stop: SentStop | None = None
        self._watched: dict[str, WatchedJoints] = {}  # by their action keys

    def missed_by(self, measured: MeasuredAhead) -> frozenset[str]:
        """The action keys whose controllers have missed the newest stop; call it at every tick.

        With one that has missed it come those that are not told yet, and nearer to the path before.

        Args:
            measured: Where the robot is.
        """
        if self._path.stop is not self._stop:
            self._begin(self._path.stop, measured)
        if self._stop is None:
            return frozenset()
        watched = self._watched
        verdicts = {key: joints.judge(measured) for key, joints in watched.items()}
        if Verdict.MISSED not in verdicts.values():
            if Verdict.OPEN not in verdicts.values():
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
                self._watched[key] = WatchedJoints(stop, columns)


class WatchedJoints:
    """Measured joints of one controller, which was sent a way to rest.

    Args:
        stop: The way to rest, and the path before.
        columns: Where the joints lie in its rows.

    Attributes:
        is_nearer_before: Whether they were nearer to the path before than to their rest at last.
    """

    def __init__(self, stop: SentStop, columns: list[int]) -> None:
        self._before = stop.before
        self._rest = stop.rest
        self._columns = columns
        self._verdict = Verdict.OPEN
        self._began: tuple[int, Row] | None = None  # when they should have rested, ns, and where
        self._along: tuple[int, Row] | None = None  # since when they go along the path before
        self.is_nearer_before = False

    def judge(self, measured: MeasuredAhead) -> Verdict:
        """Judge them by their newest measurements; a verdict stays."""
        if self._verdict is Verdict.OPEN:
            stamp_ns = min(measured.stamps_ns[i] for i in self._columns)
            place = np.array([measured.positions[i] for i in self._columns])
            self._verdict = self._judge(stamp_ns, place)
        return self._verdict

    def _judge(self, stamp_ns: int, place: Row) -> Verdict:
        if self._way_left(self._rest, stamp_ns - DELAY_NS) > SAME:
            return Verdict.OPEN
        off = _distance(place, self._row(self._rest, stamp_ns))
        delay_ns = min(
            range(0, DELAY_NS + 1, self._rest.period_ns),
            key=lambda delay_ns: _distance(place, self._row(self._before, stamp_ns - delay_ns)),
        )
        beside = _distance(place, self._row(self._before, stamp_ns - delay_ns))
        self.is_nearer_before = beside < off
        is_on_path = NEARER * beside < off
        if self._way_left(self._before, stamp_ns) < MISSED:
            return Verdict.MISSED if is_on_path and off > MISSED else Verdict.STOPPED
        if self._stays(stamp_ns, place):
            return Verdict.STOPPED
        if not is_on_path:
            self._along = None
            return Verdict.OPEN
        is_told = self._time_along_ns(stamp_ns, place, delay_ns) >= TELLING_NS
        return Verdict.MISSED if is_told and off > MISSED else Verdict.OPEN

    def _stays(self, stamp_ns: int, place: Row) -> bool:
        """Whether the joints stay where they are, while the path before goes on."""
        if self._began is None:
            self._began = stamp_ns, place
        since_ns, began_at = self._began
        way = self._row(self._before, stamp_ns) - self._row(self._before, since_ns)
        if stamp_ns - since_ns < TELLING_NS or np.abs(way).max() < TELLING_WAY:
            return False
        return bool((place - began_at) @ way < STOPPED * (way @ way))

    def _time_along_ns(self, stamp_ns: int, place: Row, delay_ns: int) -> int:
        """How long the joints have gone along the path before, with a delay, ns."""
        if self._along is not None:
            since_ns, came_from = self._along
            before = self._row(self._before, since_ns - delay_ns)
            way = self._row(self._before, stamp_ns - delay_ns) - before
            longest = float(np.abs(way).max())
            if longest < TELLING_WAY:
                return 0
            if _distance(place - came_from, way) < SAME_WAY * longest:
                return stamp_ns - since_ns
        self._along = stamp_ns, place
        return 0

    def _row(self, path: Trajectory, instant_ns: int) -> Row:
        return np.asarray(path.row_at(instant_ns)[self._columns])

    def _way_left(self, path: Trajectory, instant_ns: int) -> float:
        """How far a path still moves the joints from an instant on, rad (or m)."""
        return float(path.moves_from(instant_ns)[self._columns].max())


def _distance(place: Row, other: Row) -> float:
    """The largest distance of a joint, rad (or m)."""
    return float(np.abs(place - other).max())
