# SPDX-License-Identifier: Apache-2.0
"""Finds controllers that go on by the path before, although they were sent a way to rest.

A controller rejects a trajectory that ended before it arrived. So a way to rest is lost where the
network, or the machine of the controller, stalls: the robot goes on to the end of its path.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gr00t_policy_core.control.chunk import Row
from gr00t_policy_core.control.measured_ahead import MeasuredAhead
from gr00t_policy_core.control.sent_path import SAME, SentPath, SentStop
from gr00t_policy_core.control.trajectory import Trajectory

# A robot follows its path by so much later, s, at most. A judgement: small arms do 0.1 s later. It
# should have come to rest that long after the end of its way to rest.
DELAY_S = 0.2
# What it does then is judged after this time, s, in which the path before has gone on by this much,
# rad (or m): more than the noise of an encoder.
TELLING_S, TELLING_WAY = 0.1, 0.01
# It has stopped if it has gone less than this share of that way. A judgement.
STOPPED = 0.5
# It has missed the stop if it is further than this from its rest, rad (or m), as many times nearer
# to where the path before was within the last `DELAY_S`, and has gone the same way as that, but for
# a share. Judgements: an arm at rest sags by less, and somebody who pushes it does not push all of
# its joints along their path, at its speed.
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


@dataclass(slots=True)
class Suspect:
    """A controller whose joints should have come to rest.

    Args:
        since_ns: From when on, ns.
        began_at: Where its joints were then, rad (or m).
        along_since_ns: Since when they go along the path before, ns; None where they do not.
        along_from: Where they were then, rad (or m).
    """

    since_ns: int
    began_at: Row
    along_since_ns: int | None = None
    along_from: Row | None = None


class StopWatch:
    """Compares the measured robot with its way to rest, and with the path that it should leave.

    Args:
        path: What the controllers were sent.
    """

    def __init__(self, path: SentPath) -> None:
        self._path = path
        self._stop: SentStop | None = None
        self._suspects: dict[str, Suspect] = {}  # by their action keys

    def missed_by(self, measured: MeasuredAhead) -> frozenset[str]:
        """The action keys whose controllers have missed the newest stop; call it at every tick.

        Args:
            measured: Where the robot is.
        """
        stop = self._path.stop
        if stop is not self._stop:
            self._stop, self._suspects = stop, {}
        if stop is None:
            return frozenset()
        verdicts = {key: self._has_missed(key, stop, measured) for key in self._path.slices}
        if not any(verdicts.values()) and None not in verdicts.values():
            self._path.settle()
        return frozenset(key for key, has_missed in verdicts.items() if has_missed)

    def _has_missed(self, key: str, stop: SentStop, measured: MeasuredAhead) -> bool | None:
        """Whether the controller of a key has missed a stop; None where that is not known yet."""
        part = self._path.slices[key]
        columns = [i for i in range(part.start, part.stop) if i in measured.positions]
        if not columns or not self._path.is_sent[columns].all():
            return False
        stamp_ns = min(measured.stamps_ns[i] for i in columns)
        if not stop.before.moves_from(stamp_ns)[columns].max() > SAME:
            return False
        followed_ns = stamp_ns - round(DELAY_S * 1e9)
        if stop.rest.moves_from(followed_ns)[columns].max() > SAME:
            return None
        place = np.array([measured.positions[i] for i in columns])
        suspect = self._suspects.setdefault(key, Suspect(stamp_ns, place))
        if _has_stopped(suspect, stop.before, stamp_ns, columns, place):
            return False
        off = float(np.abs(place - stop.rest.row_at(stamp_ns)[columns]).max())
        along_s = _time_along(suspect, stop.before, stamp_ns, columns, place, off)
        return True if along_s >= TELLING_S and off > MISSED else None


def _has_stopped(
    suspect: Suspect, before: Trajectory, stamp_ns: int, columns: list[int], place: Row
) -> bool:
    """Whether joints stay where they are, while the path before goes on."""
    way = before.row_at(stamp_ns)[columns] - before.row_at(suspect.since_ns)[columns]
    if stamp_ns - suspect.since_ns < TELLING_S * 1e9 or np.abs(way).max() < TELLING_WAY:
        return False
    return bool((place - suspect.began_at) @ way < STOPPED * (way @ way))


def _time_along(
    suspect: Suspect,
    before: Trajectory,
    stamp_ns: int,
    columns: list[int],
    place: Row,
    off: float,
) -> float:
    """How long joints that are so far off their rest, rad (or m), go along the path before, s."""
    delays_ns = range(0, round(DELAY_S * 1e9) + 1, before.period_ns)
    places = np.stack([before.row_at(stamp_ns - delay_ns)[columns] for delay_ns in delays_ns])
    distances = np.abs(places - place).max(axis=1)
    nearest = int(distances.argmin())
    since_ns, came_from = suspect.along_since_ns, suspect.along_from
    if NEARER * distances[nearest] > off:
        suspect.along_since_ns = suspect.along_from = None
        return 0.0
    if since_ns is not None and came_from is not None:
        way = places[nearest] - before.row_at(since_ns - delays_ns[nearest])[columns]
        longest = float(np.abs(way).max())
        if longest < TELLING_WAY:
            return 0.0
        if np.abs(place - came_from - way).max() < SAME_WAY * longest:
            return (stamp_ns - since_ns) * 1e-9
    suspect.along_since_ns, suspect.along_from = stamp_ns, place
    return 0.0
