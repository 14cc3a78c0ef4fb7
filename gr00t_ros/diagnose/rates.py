# SPDX-License-Identifier: Apache-2.0
"""The rate of each topic, and what did not arrive. Pure."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gr00t_ros.diagnose.run import NAN, Run, Topic, Vector

GAP = 1.5  # periods between two messages from which one is missing


@dataclass(frozen=True, slots=True, kw_only=True)
class TopicRate:
    """How a topic arrived.

    Args:
        name: Its name.
        messages: How many arrived.
        rate_hz: By the median of the times between them, Hz; by their stamps where they have some.
        missing: Messages that such a rate would have brought in the gaps.
        longest_gap_s: The longest time without one, s.
        delay_p50_s: Median time from stamp to arrival, s; NaN without stamps.
    """

    name: str
    messages: int
    rate_hz: float
    missing: int
    longest_gap_s: float
    delay_p50_s: float

    @property
    def missing_share(self) -> float:
        """The part of the messages that is missing, 0 to 1."""
        return self.missing / max(1, self.messages + self.missing)


def measure_rates(run: Run) -> list[TopicRate]:
    """Measure all topics of a run that come at a rate."""
    return [measure_rate(topic) for topic in run.topics if len(topic.received_s) > 2]


def measure_rate(topic: Topic) -> TopicRate:
    """Measure one topic of at least two messages."""
    instants_s = topic.stamps_s if _are_times(topic.stamps_s) else topic.received_s
    gaps_s = np.diff(np.sort(instants_s))
    period_s = float(np.median(gaps_s))
    missing = 0
    if period_s > 0.0:
        wide = gaps_s[gaps_s > GAP * period_s]
        missing = int(np.sum(np.round(wide / period_s) - 1))
    delay_s = NAN
    if _are_times(topic.stamps_s):
        delay_s = float(np.median(topic.received_s - topic.stamps_s))
    return TopicRate(
        name=topic.name,
        messages=len(topic.received_s),
        rate_hz=1.0 / period_s if period_s > 0.0 else NAN,
        missing=missing,
        longest_gap_s=float(gaps_s.max()),
        delay_p50_s=delay_s,
    )


def lost_chunks(run: Run) -> int:
    """Chunks whose numbers are missing between those that arrived."""
    numbers = sorted({chunk.chunk_id for chunk in run.chunks})
    return numbers[-1] - numbers[0] + 1 - len(numbers) if numbers else 0


def _are_times(stamps_s: Vector) -> bool:
    """Whether the stamps are set; commands often carry 0: from their arrival on."""
    return len(stamps_s) > 2 and float(np.median(stamps_s)) > 0.0
