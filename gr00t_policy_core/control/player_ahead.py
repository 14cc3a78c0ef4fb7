# SPDX-License-Identifier: Apache-2.0
"""A player that is ticked ahead of the present, and its way back to where the robot is."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

from gr00t_policy_core.control.action_layout import ActionLayout
from gr00t_policy_core.control.chunk import Row
from gr00t_policy_core.control.commands_ahead import CommandsAhead
from gr00t_policy_core.control.delayed_player import DelayedPlayer
from gr00t_policy_core.control.measured_ahead import MeasuredAhead
from gr00t_policy_core.control.playback_clock import CLOCK_JUMP_NS
from gr00t_policy_core.control.player import MotionPlayer
from gr00t_policy_core.control.recording import (
    Allowed,
    Event,
    Limited,
    Measured,
    Placed,
    Ticked,
    repeat,
)
from gr00t_policy_core.control.sent_path import SentPath
from gr00t_policy_core.control.sent_ticks import SentTicks
from gr00t_policy_core.control.trajectory import BrakeMotion, Trajectory

# After a longer pause of the control loop, s, missed ticks are made up for only up to the end of
# the path that was sent: there the robot rests, however long the pause was.
LONG_PAUSE_S = 1.0
# A stop departs from the path this long after its reason, s. A judgement: to forecast and send the
# way to rest of an arm of seven joints takes about 15 ms on an idle core. More lets the robot go on
# for longer. With less, or on a busier machine, the way to rest comes late, and is planned again.
STOP_LEAD_S = 0.02


class PlayerAhead:
    """A player whose newest tick is one lead after the present.

    Args:
        player: The player; only this object and its owner call it from now on.
        layout: Its layout.
        path: What the controller of the robot knows of the commands.
        period_s: Time between two ticks, s.
        lead_s: The shortest lead, s; rounded up to whole ticks.
        silent_at_rest: As in `PlayerSettings`: what was commanded at rest did not go out.
    """

    def __init__(
        self,
        player: MotionPlayer,
        layout: ActionLayout,
        path: SentPath,
        *,
        period_s: float,
        lead_s: float,
        silent_at_rest: bool,
    ) -> None:
        self._player = player
        self._layout = layout
        self._behind = DelayedPlayer(player.copy_with_history())
        self._path = path
        self._period_ns = round(period_s * 1e9)
        self._commands = CommandsAhead(
            period_s=period_s, lead_s=lead_s, silent_at_rest=silent_at_rest
        )
        stop_ticks = max(1, math.ceil(STOP_LEAD_S / period_s - 1e-9))
        self._stop_ticks = min(stop_ticks, self._commands.lead_ticks)
        self._ticked_ns: int | None = None  # the newest tick of the player
        self._sent = SentTicks()
        self._measured = MeasuredAhead(layout, path)

    @property
    def player(self) -> MotionPlayer:
        """The player, one lead ahead of the present."""
        return self._player

    @property
    def player_at_stop(self) -> MotionPlayer:
        """The player where it would depart from the path if it had to stop now; only to read."""
        return self._behind.player

    @property
    def lead_ns(self) -> int:
        """How far the player is ahead of the present, ns."""
        return self._commands.lead_ticks * self._period_ns

    @property
    def stop_lead_ns(self) -> int:
        """How long after its reason a stop departs from the path, ns."""
        return self._stop_ticks * self._period_ns

    @property
    def ticked_ns(self) -> int | None:
        """The newest tick of the player, ns; None before the first."""
        return self._ticked_ns

    @property
    def commands(self) -> CommandsAhead:
        """The commands from the present to the newest; only to read."""
        return self._commands

    @property
    def known_from_ns(self) -> int:
        """The instant of the first known command, ns."""
        return (self._ticked_ns or 0) - (len(self._commands.known) - 1) * self._period_ns

    @property
    def departure_ns(self) -> int:
        """The newest instant at which the path is still the one that was sent, ns."""
        return (self._ticked_ns or 0) - self._sent.unsent * self._period_ns

    def time_ahead(self, now_ns: int) -> int:
        """The player's time at the present: its newest tick, unless the clock was set."""
        ticked_ns, ahead_ns = self._ticked_ns, now_ns + self.lead_ns
        if ticked_ns is None or abs(ahead_ns - ticked_ns) > CLOCK_JUMP_NS:
            return ahead_ns
        return ticked_ns

    @property
    def comes_to_rest(self) -> bool:
        """Whether the player brakes or rests, and was told nothing since that moves it."""
        player = self._player
        return bool(player.reason) and self._sent.unsent_chunk is None and not player.is_steered

    @property
    def sent(self) -> SentTicks:
        """Which ticks and calls the robot knows; only to read."""
        return self._sent

    @property
    def measured(self) -> MeasuredAhead:
        """What was measured last; only to read."""
        return self._measured

    def note(self, event: Event) -> None:
        """Store a call to the player that a stop undoes."""
        self._behind.note(event)
        self._sent.note(event)

    def tell(self, event: Event) -> None:
        """Repeat a call on the player, and store it as one that a stop undoes."""
        repeat(event, self._player)
        self.note(event)

    def measure(self, positions: Mapping[int, float], stamp_ns: int) -> None:
        """Store measured positions: as far beside the command ahead as beside that of their time.

        Args:
            positions: Positions of joints and of whole poses, by their index, rad (or m).
            stamp_ns: When they were there, ns.
        """
        self._measured.keep(positions, stamp_ns)
        self._measure_ahead(positions, stamp_ns, self.lead_ns)

    def tick(self, now_ns: int) -> bool:
        """Tick until one lead after the present, ns; returns False where the clock has jumped."""
        if self._is_clock_steady(now_ns):
            self._commands.pass_tick()
            self._tick_on(self._ticks_until(now_ns + self.lead_ns), now_ns)
            return True
        if self._due_ns(now_ns) <= -CLOCK_JUMP_NS:
            self._path.settle()  # what will be measured is of another time
        is_first = self._ticked_ns is None
        self._tick_once(now_ns + self.lead_ns, now_ns)
        if not is_first:
            self.keep()  # what was before the jump is of another time
        return is_first

    def has_paused(self, now_ns: int) -> bool:
        """Whether the control loop has paused for long before the present, ns."""
        return self._due_ns(now_ns) >= LONG_PAUSE_S * 1e9

    def catch_up(self, now_ns: int) -> None:
        """Make up for the ticks that were missed before the one that is due at present, ns.

        The robot has gone on meanwhile, on the path that was sent.
        """
        if self._ticked_ns is None:
            return
        missed = self._ticks_until(now_ns + self.lead_ns) - 1
        if self.has_paused(now_ns):
            end_ns = self._path.end_ns
            rested_ns = self._ticked_ns if end_ns is None else end_ns + self.lead_ns
            missed = min(missed, self._ticks_until(rested_ns))
        if missed > 0:
            self._tick_on(missed, now_ns, is_missed=True)
            self._measure_again(self.lead_ns)
            self.advance()

    def advance(self) -> None:
        """Give up what a stop need not undo any more."""
        lead_ticks = self._commands.lead_ticks
        if self._path.is_current and self._sent.unsent > lead_ticks:
            self._sent.assume_same()  # a call that has changed nothing for a whole lead
        self._behind.advance(max(lead_ticks - self._stop_ticks, self._sent.unsent))

    def go_back(self, stop_lead_ns: int | None = None, *, after_pause: bool = False) -> int:
        """Undo what the robot has not begun, on the path that was sent; returns the present, ns.

        Afterwards the player is one stop lead after the present. Tell it what is to be otherwise
        than before, then call `go_ahead`. New limits are not undone, nor whether motion is allowed.

        Args:
            stop_lead_ns: Another stop lead than the usual one, ns; the lead is the longest.
            after_pause: Whether the robot has begun all that was sent, because time has passed.
        """
        if self._ticked_ns is None:
            self.keep()
            return 0
        if after_pause:
            self._behind.advance(self._sent.unsent)
        present_ns, ticks = self._ticked_ns - self.lead_ns, self._behind.ticks_left
        undone = list(self._behind.undone)
        self._player = self._behind.player
        self._sent.undo(ticks, undone)
        self._ticked_ns -= ticks * self._period_ns
        self._commands.drop(ticks)
        self._path.drop()
        lead_ns = self.stop_lead_ns if stop_lead_ns is None else min(stop_lead_ns, self.lead_ns)
        self._tick_on(self._ticks_until(present_ns + lead_ns), present_ns, is_missed=True)
        self.keep()
        self._tell_again(undone)
        return present_ns

    def refuse(self, reason: str) -> None:
        """Count a chunk that was refused, also where a stop brings the player back."""
        for player in (self._player, self.player_at_stop):
            player.refuse(reason)

    def keep(self) -> None:
        """Never go back before this moment."""
        self._behind = DelayedPlayer(self._player.copy_with_history())

    def go_ahead(self, present_ns: int, *, is_missed: bool = False) -> None:
        """Tick until one lead after the present, ns, after the way back.

        Args:
            present_ns: The present, ns.
            is_missed: Whether these ticks were missed: their time has passed.
        """
        if self._ticked_ns is not None:
            ticks = self._ticks_until(present_ns + self.lead_ns)
            self._tick_on(ticks, present_ns, is_missed=is_missed)

    def rest_where_measured(self, keys: Collection[str]) -> None:
        """Have the joints of some action keys be commanded where they are measured, at rest."""
        at_ns = self._ticked_ns or 0
        placed = Placed(tuple(keys), at_ns)
        for event in (Measured(self._measured.positions, at_ns), placed):
            repeat(event, self._player)
            self._behind.note(event)

    def brake_at_once(self, reason: str) -> Trajectory | None:
        """Brake by the largest accelerations, after the way back; nothing leads back behind this.

        Args:
            reason: Why.

        Returns:
            The way to rest, which counts as sent; None where nothing was sent that moves the robot.
        """
        ticked_ns, period_ns, ticks = self._ticked_ns, self._period_ns, self._stop_ticks
        if ticked_ns is None:
            return None
        start_ns = ticked_ns - ticks * period_ns
        begun = self._path.rows_at(range(start_ns, ticked_ns + 1, period_ns))
        brake = self._player.fallback_brake((begun[-2], begun[-1])) if begun else None
        if brake is None:
            return None
        self._player.brake_at_once((begun[-2], begun[-1]), ticked_ns, reason)
        self.keep()
        self._sent.finish_brake()
        motion = BrakeMotion(start_ns, begun, brake, self._path.slices)
        trajectory = motion.forecast(period_ns).run()
        if trajectory is not None:
            self._path.finish(trajectory, is_stop=True)
        return trajectory

    def lengthen_lead(self, late_ns: int) -> None:
        """Plan further ahead from the next `go_ahead` on, where a trajectory was so late, ns."""
        needed_ns = self.lead_ns + late_ns
        self._commands.lengthen(math.ceil(needed_ns / self._period_ns))

    def begin_forecast(self) -> None:
        """Distinguish what the forecast knows from what the player is told from now on."""
        self._sent.begin_forecast()

    def compare(self) -> None:
        """Find out how many of the commands were sent, after a trajectory was."""
        rows, start_ns = [command.vector for command in self._commands.known], self.known_from_ns
        same = self._path.same_until(rows, start_ns, self._period_ns)
        self._sent.finish_forecast(same, len(rows))
        # A player without its first chunk could not stop the robot, which was sent that.
        self._behind.begin()
        if self._sent.has_new_chunk:
            self._path.depart()  # as for every chunk
        if self._path.is_current:
            self._sent.finish_chunk()

    def sent_rows(self, now_ns: int) -> tuple[int, list[Row]]:
        """The commands that the controller has, until a stop can depart from them.

        Before the first trajectory they are those that the player has made.

        Args:
            now_ns: The present, on the clock of the stamps, ns.

        Returns:
            The instant of the first command, ns, and the commands, float64 (size,) each.
        """
        rows = [command.vector for command in self._commands.known]
        ticks = self._stop_ticks + 1
        return self._path.rows_from(now_ns, ticks) or (now_ns, rows[1 : ticks + 1] or rows)

    def _tell_again(self, undone: Sequence[Event]) -> None:
        """Repeat the newest of the calls that set what lasts."""
        newest = {type(event): event for event in undone}
        if Allowed in newest:
            self.tell(newest[Allowed])
        if isinstance(limits := newest.get(Limited), Limited):
            self.tell(replace(limits, now_ns=self._ticked_ns or limits.now_ns))

    def _is_clock_steady(self, now_ns: int) -> bool:
        if self._ticked_ns is None:
            return False
        return -CLOCK_JUMP_NS < self._due_ns(now_ns) < LONG_PAUSE_S * 1e9

    def _due_ns(self, now_ns: int) -> int:
        """How far the player has to go on at present, ns."""
        ahead_ns = now_ns + self.lead_ns
        return 0 if self._ticked_ns is None else ahead_ns - self._ticked_ns

    def _ticks_until(self, until_ns: int) -> int:
        """The number of ticks from the newest until an instant, ns."""
        return round((until_ns - (self._ticked_ns or 0)) / self._period_ns)

    def _tick_on(self, ticks: int, now_ns: int, *, is_missed: bool = False) -> None:
        first_ns, period_ns = (self._ticked_ns or 0) + self._period_ns, self._period_ns
        for tick_ns in range(first_ns, first_ns + ticks * period_ns, period_ns):
            if ticks > 1:
                self._measure_again(tick_ns - now_ns)
            self._tick_once(tick_ns, now_ns, is_missed=is_missed)

    def _tick_once(self, tick_ns: int, now_ns: int, *, is_missed: bool = False) -> None:
        tick = Ticked(tick_ns, is_missed, is_under_way=self._path.moves_from(now_ns))
        self._behind.note(tick)
        self._ticked_ns = tick_ns
        self._sent.tick()
        command = repeat(tick, self._player)
        self._commands.append(command)
        if command is None:
            return
        if command.is_withheld:
            # While its path moves it, the robot is on it still, and not where it was moved to.
            if not tick.is_under_way:
                self._path.forget()
            return
        self._path.follow(command.vector, tick_ns)
        if self._path.has_departed:
            self._sent.depart()

    def _measure_again(self, ahead_ns: int) -> None:
        """Have the measurements go along with the commands, while ticks are made up for."""
        for positions, stamp_ns in self._measured.by_stamp():
            self._measure_ahead(positions, stamp_ns, ahead_ns)

    def _measure_ahead(self, positions: Mapping[int, float], stamp_ns: int, ahead_ns: int) -> None:
        moved = self._measured.moved(positions, stamp_ns, self._commands.known)
        self._behind.note(Measured(moved, stamp_ns + ahead_ns))
        self._player.measure(moved, stamp_ns + ahead_ns)
