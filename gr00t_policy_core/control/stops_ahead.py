# SPDX-License-Identifier: Apache-2.0
"""Stops of a player that is ticked ahead: they depart from the path that the robot was sent."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from gr00t_policy_core.control.joint_limits import JointLimits
from gr00t_policy_core.control.player_ahead import PlayerAhead
from gr00t_policy_core.control.recording import Allowed, Held, Limited
from gr00t_policy_core.control.released_joints import ReleasedJoints
from gr00t_policy_core.control.sent_path import SentPath
from gr00t_policy_core.control.stop_conditions import NEW_LIMITS, reason_after_stop
from gr00t_policy_core.control.trajectory import Forecast, Trajectory
from gr00t_policy_core.control.workspace import Workspace

# A stop whose way to rest is still not sent so long after its reason, s, is not planned again: the
# robot brakes by its largest accelerations, which takes no time to plan. A judgement: an idle
# machine that is late once plans it again within 0.05 s, and keeps the limits on jerk, too.
PLAN_AGAIN_S = 0.15
STOOD_STILL = "the control loop stood still before its trajectory was sent"


class StopsAhead:
    """Brings the player back to where the robot is, and brakes from there.

    All instants are on the clock of the stamps, ns.

    Args:
        ahead: The player, one lead ahead of the present.
        path: What the controller of the robot knows of the commands.
    """

    def __init__(self, ahead: PlayerAhead, path: SentPath) -> None:
        self._ahead = ahead
        self._path = path
        self._released = ReleasedJoints(ahead.player.layout)
        self._forbidden = ""  # why others forbid motion
        self._inhibited = ""  # why it is forbidden
        self._is_due = False  # whether motion was forbidden since the last call with a time
        self._unsent_since_ns: int | None = None  # the first reason to stop since a stop was sent
        self._reason = ""  # of the newest stop

    @property
    def is_unsent(self) -> bool:
        """Whether the way to rest of a stop is still to be sent."""
        return self._unsent_since_ns is not None

    def inhibit(self, reason: str) -> None:
        """Forbid motion for a reason, from the next `begin_if_due` on; an empty one allows it."""
        self._forbidden = reason
        self._forbid(reason or self._released.reason)

    def _forbid(self, reason: str) -> None:
        if reason == self._inhibited:
            return
        was_allowed, self._inhibited = not self._inhibited, reason
        if was_allowed:
            self._is_due = True
        elif self._is_due:
            self._is_due = bool(reason)
        else:
            self._ahead.tell(Allowed(reason))

    def begin_if_due(self, now_ns: int) -> None:
        """Stop, if motion was forbidden since the last call."""
        if self._is_due:
            self.stop(now_ns, reason_after_stop(self._inhibited))

    def stop(self, now_ns: int, reason: str, stop_lead_ns: int | None = None) -> None:
        """Come to rest from the path that was sent: a stop that was not sent yet is begun again.

        Args:
            now_ns: The present.
            reason: Why.
            stop_lead_ns: How long after the present it departs; as soon as usual by default.
        """
        if stop_lead_ns is None and self._is_overdue(now_ns) and self._ahead.comes_to_rest:
            # Stops that follow each other do not put the way to rest of the first one off for ever.
            self._tell_if_due()
            self._reason = reason
            self._ahead.tell(Held(self._ahead.ticked_ns or now_ns, reason))
            return
        present_ns = self.go_back(now_ns, stop_lead_ns)
        self._ahead.tell(Held(self._ahead.ticked_ns or now_ns, reason))
        self._go_on(present_ns, reason)

    def stop_again(self, late: Forecast, now_ns: int) -> Trajectory | None:
        """Stop as much later as the forecast of the newest stop has taken, and a little more.

        Args:
            late: That forecast.
            now_ns: The present.

        Returns:
            The way to rest, to be sent at once, where there was no time to plan it; else None.
        """
        if self._is_overdue(now_ns):
            trajectory = self.brake_at_once(now_ns, self._reason)
            if trajectory is not None:
                return trajectory
        late_ns = now_ns - late.departure_ns
        self.stop(now_ns, self._reason, late_ns + 2 * self._ahead.stop_lead_ns)
        return None

    def brake_at_once(self, now_ns: int, reason: str) -> Trajectory | None:
        """Brake by the largest accelerations, which takes no time to plan.

        Args:
            now_ns: The present.
            reason: Why.

        Returns:
            The way to rest, to be sent at once; None where no trajectory moves the robot.
        """
        self._reason = reason
        return self._brake_at_once(self.go_back(now_ns))

    def brake_again(self, keys: Collection[str], now_ns: int) -> Trajectory | None:
        """Brake at once where controllers have missed the newest stop.

        Args:
            keys: The action keys of these controllers, which are on the path before.
            now_ns: The present.

        Returns:
            As `brake_at_once`.
        """
        present_ns = self.go_back(now_ns)
        self._path.return_to_before(keys, present_ns)
        return self._brake_at_once(present_ns)

    def _brake_at_once(self, present_ns: int) -> Trajectory | None:
        """Brake from where the robot was sent, after the way back."""
        trajectory = self._ahead.brake_at_once(self._reason)
        if trajectory is not None:
            self._unsent_since_ns = None
        self._ahead.go_ahead(present_ns)
        return trajectory

    def release(self, keys: Collection[str], now_ns: int, reason: str) -> None:
        """Stop, without the joints whose controllers have left the path: they hold by themselves.

        Motion is forbidden until all joints stand still, and these are commanded where they are.

        Args:
            keys: The action keys of these joints.
            now_ns: The present.
            reason: Why.
        """
        self._released.release(keys)
        self._path.release(keys)
        self.inhibit(self._forbidden)
        self.stop(now_ns, reason)

    def change_limits(
        self,
        limits: Mapping[int, JointLimits],
        now_ns: int,
        workspaces: tuple[Workspace, ...],
    ) -> None:
        """Stop, and use other limits then; as `MotionPlayer.change_limits`."""
        present_ns = self.go_back(now_ns)
        at_ns = self._ahead.ticked_ns or now_ns
        self._ahead.tell(Limited(limits, at_ns, workspaces))
        self._go_on(present_ns, NEW_LIMITS)

    def brake_at_present(self, now_ns: int) -> None:
        """Brake already where the robot is, for what the player has found one lead ahead."""
        reason = self._ahead.player.reason
        self._go_on(self.go_back(now_ns), reason)
        ticked_ns = self._ahead.ticked_ns
        if not self._ahead.player.is_braking and ticked_ns is not None:
            self._ahead.tell(Held(ticked_ns, reason))

    def go_back(self, now_ns: int, stop_lead_ns: int | None = None) -> int:
        """Undo what the robot has not begun; returns the present. Then call `go_ahead` of `ahead`.

        Args:
            now_ns: The present.
            stop_lead_ns: As for `stop`.
        """
        self.catch_up(now_ns)
        present_ns = self._ahead.go_back(stop_lead_ns)
        self._tell_if_due()
        return present_ns

    def catch_up(self, now_ns: int) -> None:
        """Go on to where the robot is, if the control loop has missed ticks.

        After a long pause only what was sent counts: what was not is undone before, and a chunk
        that was accepted just before the pause is refused.
        """
        if self._ahead.has_paused(now_ns):
            unsent = self._ahead.sent.unsent_chunk
            self._ahead.go_ahead(self._ahead.go_back(after_pause=True), is_missed=True)
            if unsent is not None and self._ahead.sent.unsent_chunk is None:
                self._ahead.refuse(f"chunk {unsent.chunk_id}: {STOOD_STILL}")
        self._ahead.catch_up(now_ns)

    def finish(self, sent: Forecast) -> None:
        """Learn that a forecast was sent."""
        if sent.is_stop:
            self._unsent_since_ns = None

    def tick(self) -> None:
        """Give up a stop that changes nothing, and take released joints back that stand still."""
        if not self._changes_something:
            self._unsent_since_ns = None
        if self._released.keys:
            self._take_back_if_still()

    def _take_back_if_still(self) -> None:
        """Command released joints where they stand still, once everything else does."""
        ahead, released = self._ahead, self._released
        known = ahead.commands.known
        is_still = released.stand_still(ahead.measured)
        is_withheld = any(command.is_withheld for command in known)
        is_in_doubt = self._path.stop is not None
        if not is_still or is_withheld or is_in_doubt or self._changes_something:
            return
        is_there = [released.are_beside(one.vector, ahead.measured) for one in known]
        if not all(is_there):
            if not is_there[-1]:
                ahead.rest_where_measured(released.keys)
            return
        ahead.keep()  # what leads back behind this is another place
        self._path.take_back(known[-1].vector if known else None, ahead.ticked_ns or 0)
        released.take_back()
        self.inhibit(self._forbidden)

    def _is_overdue(self, now_ns: int) -> bool:
        """Whether a stop is to be sent, and should have been long before."""
        since_ns = self._unsent_since_ns
        return since_ns is not None and now_ns - since_ns > PLAN_AGAIN_S * 1e9

    def _tell_if_due(self) -> None:
        """Tell the player whether motion is allowed, if that has changed."""
        if self._is_due:
            self._is_due = False
            self._ahead.tell(Allowed(self._inhibited))

    def _go_on(self, present_ns: int, reason: str) -> None:
        """Go on from a stop, which is sent as soon as it is forecast."""
        self._reason = reason
        self._ahead.go_ahead(present_ns)
        since_ns = present_ns if self._unsent_since_ns is None else self._unsent_since_ns
        self._unsent_since_ns = since_ns if self._changes_something else None

    @property
    def _changes_something(self) -> bool:
        """Whether a stop does: the robot moves, or departs from what it was sent."""
        return not (self._path.is_current and self._ahead.commands.is_at_rest)
