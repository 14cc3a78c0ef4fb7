# SPDX-License-Identifier: Apache-2.0
"""A failure of the motion, and a way to rest that does not need the failed part."""

from __future__ import annotations

import traceback

from gr00t_policy_core.control.action_layout import ActionLayout
from gr00t_policy_core.control.command import Command
from gr00t_policy_core.control.fallback_brake import FallbackBrake
from gr00t_policy_core.control.look_ahead import LookAheadPlayer
from gr00t_policy_core.control.trajectory import BrakeMotion, Forecast, Trajectory
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
        self._player = player
        self._brake: FallbackBrake | BrakeMotion | None = None  # from the first tick on
        # What is streamed beside trajectories has stayed where it was told to be last, and brakes
        # from there, whenever a trajectory takes the rest to its rest.
        is_ahead = isinstance(player, LookAheadPlayer)
        self._streamed_keys = player.streamed_keys if is_ahead else frozenset()
        self._streamed_brake = player.streamed_brake() if is_ahead else None
        self._forecast: Forecast | None = None
        self._is_sent = self._is_given_up = False

    @property
    def is_sent(self) -> bool:
        """Whether the trajectory of the newest command was sent, or cannot be."""
        return self._is_given_up or (self._is_sent and self._brake is not None)

    @property
    def is_unsent(self) -> bool:
        """Whether the robot is about to depart on a trajectory, and no way to rest was sent."""
        player = self._player
        return not self._is_sent and isinstance(player, LookAheadPlayer) and player.has_sent_path

    def give_up(self, forecast: Forecast | None) -> None:
        """Send no trajectory of the way to rest, if it is its forecast that has failed, too.

        Args:
            forecast: What has failed; None for a forecast that could not be taken.
        """
        self._is_sent |= forecast is self._forecast

    def give_up_brake(self) -> None:
        """Make no way to rest any more: that has failed, too."""
        self._is_sent = self._is_given_up = True

    def next_command(self, last: Command, layout: ActionLayout, tick_ns: int) -> Command | None:
        """Return the next command on the way to rest; None if nothing has been played.

        Args:
            last: The command of the tick before.
            layout: Layout of the command vector.
            tick_ns: When it is to be carried out, ns.
        """
        brake = self._brake = self._brake or self._begin_to_brake(tick_ns)
        if brake is None:
            return None
        values = layout.split(brake.step())
        at_rest = brake.is_at_rest
        if self._streamed_brake is not None:
            streamed = layout.split(self._streamed_brake.step())
            values |= {key: streamed[key] for key in self._streamed_keys}
            at_rest &= self._streamed_brake.is_at_rest
        # A robot that somebody has moved is not pulled back to where it was held.
        is_withheld = last.is_withheld
        return Command.holds(
            values, values, last.chunk_id, at_rest=at_rest or is_withheld, is_withheld=is_withheld
        )

    def take_forecast(self, now_ns: int, period_ns: int) -> Forecast | None:
        """Return the forecast of the way to rest, once; None where no trajectories are sent.

        Args:
            now_ns: The present, ns.
            period_ns: Time between two commands, ns.
        """
        player = self._player
        if self._is_sent or self._forecast or not isinstance(player, LookAheadPlayer):
            return None
        brake = player.fallback_brake(now_ns)
        if brake is None:
            self._is_sent = True  # nothing was commanded: there is no way to rest, and none is due
            return None
        self._forecast = brake.forecast(period_ns)
        return self._forecast

    def finish(self, forecast: Forecast, trajectory: Trajectory, now_ns: int) -> Trajectory | None:
        """Return the way to rest that is to be sent; it begins anew where it came too late.

        Args:
            forecast: The forecast; one that was taken before the failure is not sent.
            trajectory: What it has made.
            now_ns: The present, ns.
        """
        player = self._player
        if forecast is not self._forecast or not isinstance(player, LookAheadPlayer):
            return None
        way: Trajectory | None = trajectory
        if player.is_too_late(trajectory, now_ns):
            brake = player.fallback_brake(now_ns)
            way = brake.forecast(forecast.period_ns).run() if brake else None
            self._brake = None  # the commands follow this way from the next tick on
        if way is not None:
            player.take_path(way)
        self._is_sent = True
        return way

    def _begin_to_brake(self, tick_ns: int) -> FallbackBrake | BrakeMotion | None:
        player = self._player
        if isinstance(player, LookAheadPlayer):
            return player.fallback_brake(tick_ns)
        return player.fallback_brake() if player is not None else None
