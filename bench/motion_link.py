# SPDX-License-Identifier: Apache-2.0
"""What lies between the robot and its policy: latency, jitter, and requests that are lost."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass

JITTER = 0.1  # deviation of a latency, as a share of it
SPIKE_CHANCE, SPIKE = 0.03, 2.0  # so many answers take so many times as long
DROP_CHANCE = 0.02  # so many requests are never answered
TIMEOUT_S = 0.5  # after which the policy node gives a request up


@dataclass(frozen=True, slots=True)
class Fate:
    """What becomes of one request.

    Attributes:
        lost: It is never answered, and given up after `delay_s`.
        delay_s: From the observation to the answer, or to giving up, s.
    """

    lost: bool
    delay_s: float


def fates(latency_s: float, seed: int) -> Iterator[Fate]:
    """The fates of one request after the other.

    The same seed gives the same luck at every latency: what differs is only how long it takes.
    Drop-outs are there at latency 0, too.

    Args:
        latency_s: The usual latency, s. Normal jitter of `JITTER` of it, not below half of it.
        seed: Of the run.
    """
    draw = random.Random(seed)
    while True:
        lost, spike = draw.random() < DROP_CHANCE, draw.random() < SPIKE_CHANCE
        factor = max(0.5, draw.gauss(1.0, JITTER)) * (SPIKE if spike else 1.0)
        yield Fate(True, TIMEOUT_S) if lost else Fate(False, latency_s * factor)
