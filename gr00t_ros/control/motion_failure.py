# SPDX-License-Identifier: Apache-2.0
"""A failure of the motion, and a way to rest that does not need the failed part."""

from __future__ import annotations

import traceback
from copy import deepcopy

from gr00t_policy_core.control.action_layout import ActionLayout
from gr00t_policy_core.control.command import Command
from gr00t_policy_core.control.trajectory import BrakeMotion, Forecast
from gr00t_ros.control.motion_setup import Player


class MotionFailure:
    """An exception that was raised while the robot moved. Construct it in the `except` block.

    Args:
        what: What failed, as the beginning of a sentence.
        player: The player of the motion; None if nothing has been played.

    Attributes:
        text: The failure, with its traceback.
    """

    def __init__(self, what: str, player: Player | None) -> None:
        self.text = f"{what}; the robot is brought to rest, and the node ends:\n" + (
            traceback.format_exc()
        )
        self._brake = player.fallback_brake() if player is not None else None
        self._forecast: Forecast | None = None

    def next_command(self, last: Command, layout: ActionLayout) -> Command | None:
        """Return the next command on the way to rest; None if nothing has been played.

        Args:
            last: The command of the tick before.
            layout: Layout of the command vector.
        """
        brake = self._brake
        if brake is None:
            return None
        values = layout.split(brake.step())
        return Command(
            values=values,
            targets=values,
            chunk_id=last.chunk_id,
            steps_left=0,
            holding=True,
            at_rest=brake.is_at_rest,
            observed_ns=None,
        )

    def take_forecast(
        self, last: Command, layout: ActionLayout, tick_ns: int, period_ns: int
    ) -> Forecast | None:
        """Return the forecast of the way to rest, once; None where no trajectories are sent.

        Args:
            last: The newest command that `next_command` has returned.
            layout: Layout of the command vector.
            tick_ns: When it is to be carried out, ns.
            period_ns: Time between two commands, ns.
        """
        if self._forecast is not None or not isinstance(self._brake, BrakeMotion):
            return None
        self._forecast = Forecast(
            tick_ns,
            period_ns,
            [last.vector],
            deepcopy(self._brake),
            layout.slices,
            departure_ns=tick_ns,
            is_stop=True,
        )
        return self._forecast

    def awaits(self, forecast: Forecast) -> bool:
        """Whether this is the forecast of the way to rest."""
        return forecast is self._forecast
