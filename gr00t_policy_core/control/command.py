# SPDX-License-Identifier: Apache-2.0
"""The commands of a player, and its reports about them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from gr00t_policy_core.control.action_layout import ActionLayout
from gr00t_policy_core.control.active_chunk import ChunkProgress
from gr00t_policy_core.control.chunk import Row
from gr00t_policy_core.control.joint_limits import LIMIT_NAMES


@dataclass(frozen=True, slots=True)
class Command:
    """The command of one tick.

    Args:
        values: float64 (D,) by action key, in SI units and rad.
        targets: Where the values are going, float64 (D,) by action key: the path, within the ranges
            of the joints, without regard to the other limits.
        chunk_id: The chunk behind the command, or the last chunk before holding.
        steps_left: Steps of that chunk that still lie ahead.
        holding: Whether no valid chunk is left to play.
        at_rest: Whether the command is holding and has come to a standstill.
        observed_ns: Stamp of the observation behind the chunk, ns; None while holding.
        is_withheld: Whether the robot must not be told the values: while it was stopped, somebody
            or another controller has moved it elsewhere.
    """

    values: Mapping[str, Row]
    targets: Mapping[str, Row]
    chunk_id: int
    steps_left: int
    holding: bool
    at_rest: bool
    observed_ns: int | None
    is_withheld: bool = False

    @property
    def vector(self) -> Row:
        """All values, float64 (size,), in the order of their layout; a new array."""
        return np.concatenate(list(self.values.values()))

    @classmethod
    def fresh(
        cls, values: Mapping[str, Row], targets: Mapping[str, Row], progress: ChunkProgress
    ) -> Command:
        """Make a command of a path: of the chunk that is played, or of a person who steers."""
        return cls(
            values=values,
            targets=targets,
            chunk_id=progress.chunk_id,
            steps_left=progress.steps_left,
            holding=False,
            at_rest=False,
            observed_ns=progress.observed_ns,
        )

    @classmethod
    def holds(
        cls,
        values: Mapping[str, Row],
        targets: Mapping[str, Row],
        chunk_id: int,
        *,
        at_rest: bool,
        is_withheld: bool = False,
    ) -> Command:
        """Make a command after the last chunk, whose number is `chunk_id`."""
        return cls(
            values=values,
            targets=targets,
            chunk_id=chunk_id,
            steps_left=0,
            holding=True,
            at_rest=at_rest,
            observed_ns=None,
            is_withheld=is_withheld,
        )


@dataclass(frozen=True, slots=True)
class JointReport:
    """One value of the command vector, for status and diagnostics.

    Args:
        name: Joint name, or key and place where it has none.
        target: Where the chunks want it, rad (or m).
        command: What is commanded, rad (or m).
        measured: Where it was measured, rad (or m); NaN where it was not.
        bound_by: Name of the limit that changed the last command; empty where none did.
    """

    name: str
    target: float
    command: float
    measured: float
    bound_by: str


def joint_reports(
    layout: ActionLayout, target: Row, command: Row, measured: Row, bound_by: Mapping[int, str]
) -> list[JointReport]:
    """The report of every value of a command vector.

    Args:
        layout: Layout of the vectors; it names the values.
        target: Where the chunks want them, float64 (size,).
        command: What is commanded, float64 (size,).
        measured: Where they were measured, float64 (size,); NaN where they were not.
        bound_by: Name of the limit that changed the last command, by index.
    """
    rows = zip(target.tolist(), command.tolist(), measured.tolist(), strict=True)
    return [
        JointReport(layout.name_of(index), *values, bound_by.get(index, ""))
        for index, values in enumerate(rows)
    ]


@dataclass(slots=True)
class PlayerCounts:
    """Counts of a player's events. `limit_hits` counts ticks by the name of the limit that bound.

    `stalls` counts the times that a chunk stood still because no command went out, `stalled_ns`
    how long it stood in all, ns.

    Its names are there from the start, so that another thread may read while a tick counts.
    """

    chunks: int = 0
    refused: int = 0
    ticks: int = 0
    fresh: int = 0
    holds: int = 0
    stalls: int = 0
    stalled_ns: int = 0
    steps_skipped: int = 0
    limit_hits: Counter[str] = field(default_factory=lambda: Counter(dict.fromkeys(LIMIT_NAMES, 0)))
