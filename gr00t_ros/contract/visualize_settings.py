# SPDX-License-Identifier: Apache-2.0
"""The settings of the visualization node. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from gr00t_policy_core.resize import FirstResize, first_resize
from gr00t_ros.contract.parameter import Settings


@dataclass(frozen=True, slots=True)
class VisualizeSettings:
    """What the visualization node draws.

    Args:
        tips: Links whose paths are drawn; empty for those that the contract suggests.
        rate_hz: The highest rate of each picture, Hz.
        ghost_loops: Whether the ghost moves along the chunk instead of standing at its end.
        image_resize: What the policy does first with an image; None if it is not known.
    """

    tips: tuple[str, ...]
    rate_hz: float
    ghost_loops: bool
    image_resize: FirstResize | None

    @classmethod
    def of(cls, settings: Settings) -> VisualizeSettings:
        """Make the settings from the values of all parameters, already checked one by one."""
        return cls(
            tips=tuple(settings["visualize.tips"]),
            rate_hz=float(settings["visualize.rate_hz"]),
            ghost_loops=settings["visualize.ghost"] == "loop",
            image_resize=first_resize([settings["visualize.image_resize"]]),
        )


def visualize_problems(settings: Settings) -> Iterator[str]:
    """Yield a sentence for each problem with the values of `visualize.…`."""
    text = settings["visualize.image_resize"]
    if text and first_resize([text]) is None:
        yield (
            f"visualize.image_resize: {text!r} names no resize; it is written as the server names "
            "it, for example resize:area:256 or resize:shortest:256"
        )
