# SPDX-License-Identifier: Apache-2.0
"""What can be wrong with a run, and the measurements that show it. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from gr00t_ros.diagnose.jitter import Jitter
from gr00t_ros.diagnose.latency import LatencyBudget
from gr00t_ros.diagnose.rates import TopicRate
from gr00t_ros.diagnose.run import Run


class Level(IntEnum):
    """How bad a symptom is."""

    NOTE = 0
    WARNING = 1
    BAD = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Symptom:
    """One thing that is wrong with a run.

    Args:
        level: How bad it is.
        title: What it is, in a few words.
        text: What was measured.
        remedy: What to do about it.
        size: How far it is beyond its threshold; orders symptoms of one level.
    """

    level: Level
    title: str
    text: str
    remedy: str
    size: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurements:
    """What was measured of a run.

    Args:
        run: The run.
        jitter: Of all joints together.
        joint_jitter: Of each joint.
        latency: The latency budget.
        rates: Of each topic.
    """

    run: Run
    jitter: Jitter
    joint_jitter: tuple[Jitter, ...]
    latency: LatencyBudget
    rates: tuple[TopicRate, ...]


def in_ms(seconds: float) -> str:
    """A time in ms, for a text."""
    return f"{1e3 * seconds:.0f} ms"
