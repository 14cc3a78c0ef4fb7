# SPDX-License-Identifier: Apache-2.0
"""The base class of enders, which say when a subtask is over."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

from gr00t_ros.contract.parameter import Parameter, Settings
from gr00t_ros.msg import ActionChunk
from gr00t_ros.task.outcome import Outcome

FOR_S = Parameter("for_s", 0.0, "s, how long the condition has to hold", 0.0, 3600.0)


@dataclass(frozen=True, slots=True)
class Reading:
    """What an ender measures at present.

    Args:
        progress: 0 to 1; at 1 the ender is satisfied.
        text: The measurement in words, for people who wait.
    """

    progress: float
    text: str

    @property
    def is_satisfied(self) -> bool:
        """Whether the subtask may end."""
        return self.progress >= 1.0


class Ender(ABC):
    """One condition that ends a subtask. An instance serves one run of one subtask.

    All times are seconds since the subtask started. Calls come from one thread.

    Attributes:
        parameters: The settings that a goal may give. Their values are checked (type, range,
            choices) before an instance is made.
        outcome: What the end means where the goal does not say it.
        message_type: The class of the messages on its topic; None for an ender without one.
        topic: The name of that topic.

    Args:
        settings: The value of each of `parameters` by name.

    Raises:
        ValueError: The settings contradict each other; says why.
    """

    parameters: ClassVar[tuple[Parameter, ...]] = ()
    outcome: ClassVar[Outcome] = Outcome.SUCCESS
    message_type: ClassVar[type[Any] | None] = None
    topic: str = ""

    def __init__(self, settings: Settings) -> None:
        del settings  # an ender without parameters has none to read

    def receive(self, message: Any, at_s: float) -> None:
        """Take a message of its topic."""
        del message, at_s  # an ender without a topic gets none

    def receive_chunk(self, chunk: ActionChunk, at_s: float) -> None:
        """Take a chunk that the policy has computed for this subtask."""
        del chunk, at_s  # most enders look at the robot, not at the policy

    @abstractmethod
    def reading(self, at_s: float) -> Reading:
        """Return how near the end is."""
