# SPDX-License-Identifier: Apache-2.0
"""The rate of each topic, and what did not arrive. Pure."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gr00t_ros.diagnose.run import NAN, Run, Topic, Vector

WINDOW = 10  # messages
GAP = 1.5  # periods between two messages from which one is missing


@dataclass(frozen=True, slots=True, kw_only=True)
class TopicRate:
    """How a topic arrived.

    Args:
        name: Its name.
        messages: How many arrived.
        rate_hz: Between the gaps, by their stamps, Hz; without stamps the mean rate of arrival.
        missing: Messages that such a rate would have brought in the gaps; 0 without stamps, because
            messages that are sent evenly arrive in bursts.
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
    is_stamped = _are_times(topic.stamps_s)
    instants_s = np.sort(topic.stamps_s if is_stamped else topic.received_s)
    gaps_s = np.diff(instants_s)
    period_s = float(np.mean(gaps_s))
    missing, delay_s = 0, NAN
    if is_stamped:
        period_s = _usual_period_s(instants_s)
        delay_s = float(np.median(topic.received_s - topic.stamps_s))
        if period_s > 0.0:
            wide = gaps_s[gaps_s > GAP * period_s]
            missing = int(np.sum(np.round(wide / period_s) - 1))
    return TopicRate(
        name=topic.name,
        messages=len(topic.received_s),
        rate_hz=1.0 / period_s if period_s > 0.0 else NAN,
        missing=missing,
        longest_gap_s=float(gaps_s.max()),
        delay_p50_s=delay_s,
    )


def _usual_period_s(instants_s: Vector) -> float:
    """The time between two messages where none is missing, s.

    The median over some messages at a time: single stamps may be rounded, or catch up.
    """
    count = min(WINDOW, len(instants_s) - 1)
    return float(np.median((instants_s[count:] - instants_s[:-count]) / count))


def lost_chunks(run: Run) -> int:
    """Chunks whose numbers are missing between those that arrived."""
    numbers = sorted({chunk.chunk_id for chunk in run.chunks})
    return numbers[-1] - numbers[0] + 1 - len(numbers) if numbers else 0


def _are_times(stamps_s: Vector) -> bool:
    """Whether the stamps are set; commands often carry 0: from their arrival on."""
    return len(stamps_s) > 2 and float(np.median(stamps_s)) > 0.0
