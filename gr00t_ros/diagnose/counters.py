# SPDX-License-Identifier: Apache-2.0
"""What the nodes counted during a run, from their statuses. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from gr00t_ros.diagnose.run import Counters
from gr00t_ros.msg import ControlStatus, PolicyStatus

OF_CONTROL = ("ticks_missed", "holds", "stalls", "limiter_hits", "chunks_rejected", "commands")
OF_POLICY = ("inference_errors", "inferences_skipped")


def counted(controls: Sequence[ControlStatus], policies: Sequence[PolicyStatus]) -> Counters:
    """What was counted from the first status of each node to its last.

    Args:
        controls: The statuses of the control node, in their order.
        policies: Those of the policy node.
    """
    return Counters(
        **{name: _growth(controls, name) for name in OF_CONTROL},
        **{name: _growth(policies, name) for name in OF_POLICY},
        stalled_s=_stalled_s(controls),
        chunk_publishers=max((status.chunk_publishers for status in controls), default=0),
    )


def _growth(statuses: Sequence[Any], name: str) -> int:
    """How much a counter grew; it begins at 0 where its node was activated or started again."""
    values = [getattr(status, name) for status in statuses]
    return sum(after - before if after >= before else after for before, after in pairwise(values))


def _stalled_s(controls: Sequence[ControlStatus]) -> float:
    """How long chunks stood still, s.

    A tick that comes early takes back a part of a stall, so only the number of stalls tells where
    the node was activated again.
    """
    grown_s = sum(
        after.stalled_s - (before.stalled_s if after.stalls >= before.stalls else 0.0)
        for before, after in pairwise(controls)
    )
    return max(0.0, grown_s)
