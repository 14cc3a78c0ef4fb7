# SPDX-License-Identifier: Apache-2.0
"""Where one chunk takes over from another, and what the blend has to take away there. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from gr00t_ros.diagnose.run import Run, Vector


@dataclass(frozen=True, slots=True)
class Takeover:
    """A chunk that arrives while another one is played.

    Args:
        chunk_id: The number of the new chunk.
        time_s: When it arrived, s.
        offsets: How far the new chunk is from the old one at that instant, float64 (D,), rad or m.
    """

    chunk_id: int
    time_s: float
    offsets: Vector


def find_takeovers(run: Run) -> list[Takeover]:
    """Find the takeovers of a run; a chunk that comes after the end of the one before is none."""
    takeovers = []
    for before, after in pairwise(run.played):
        at = np.array([after.received_s])
        offsets = (after.at(at) - before.at(at))[0]
        if not np.isnan(offsets).any():
            takeovers.append(Takeover(after.chunk_id, after.received_s, offsets))
    return takeovers
