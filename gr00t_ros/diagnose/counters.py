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
        **{name: int(_growth(controls, name)) for name in OF_CONTROL},
        **{name: int(_growth(policies, name)) for name in OF_POLICY},
        stalled_s=_growth(controls, "stalled_s"),
        chunk_publishers=max((status.chunk_publishers for status in controls), default=0),
    )


def _growth(statuses: Sequence[Any], name: str) -> float:
    """How much a counter grew; it begins at 0 where its node was activated or started again."""
    values = [getattr(status, name) for status in statuses]
    return sum(after - before if after >= before else after for before, after in pairwise(values))
