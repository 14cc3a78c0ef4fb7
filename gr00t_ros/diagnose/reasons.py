# SPDX-License-Identifier: Apache-2.0
"""How long the control node did something, by its reasons. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

import numpy as np

from gr00t_ros.diagnose.run import Activity, Run


def durations_s(run: Run, *activities: Activity, since_s: float = -np.inf) -> dict[str, float]:
    """How long the node did such things, s, by reason."""
    durations: dict[str, float] = defaultdict(float)
    for phase in run.phases:
        if phase.activity in activities and phase.end_s > since_s:
            durations[phase.reason] += phase.duration_s
    return dict(durations)


def longest_reasons(durations: Mapping[str, float]) -> str:
    """The three longest reasons, with their times."""
    longest = sorted(durations.items(), key=lambda entry: -entry[1])[:3]
    return "; ".join(f"{s:.1f} s: {reason or 'no reason given'}" for reason, s in longest)
