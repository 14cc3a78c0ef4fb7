# SPDX-License-Identifier: Apache-2.0
"""Turns chunks and a person's targets into commands, and comes to rest if anything fails. Pure.

Safe between threads: the control loop ticks while the executor delivers chunks and measurements.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection

from gr00t_policy_core.control.chunk import ChunkRefusedError
from gr00t_policy_core.control.command import Command, JointReport, PlayerCounts
from gr00t_policy_core.control.look_ahead import LookAheadPlayer
from gr00t_policy_core.control.motion_gate import MotionGate
from gr00t_policy_core.control.recording import Event, RecordingPlayer
from gr00t_policy_core.control.steering import SteeringRefusedError
from gr00t_ros.contract.contract import Contract
from gr00t_ros.control.chunk_intake import ChunkIntake
from gr00t_ros.control.current_motion import DEACTIVATED, CurrentMotion
from gr00t_ros.control.intervention import Intervention
from gr00t_ros.control.motion_forecasts import MotionForecasts
from gr00t_ros.control.motion_setup import make_layout
from gr00t_ros.control.robot_state import RobotState
from gr00t_ros.msg import ActionChunk, LatencyStatistics
from gr00t_ros.node.latency_window import WINDOW_S, LatencyWindow


class MotionControl:
    """Plays one chunk after another for each activation.

    If anything raises while the robot moves, the robot comes to rest by a path that does not need
    the failed part. `failure` describes the failure, and the robot does not move again.

    Args:
        contract: The commanded values, and how chunks are played.
        gate: Says whether the robot must not move, and why.
        monotonic_ns: The clock of the gate, ns.
        run: The run of the control node; chunks that name another one are rejected.

    Attributes:
        robot: The measurements and limits that the motion keeps to.
        forecasts: The forecasts of the motion, where whole trajectories are sent.
    """

    def __init__(
        self,
        contract: Contract,
        gate: MotionGate,
        monotonic_ns: Callable[[], int] = time.monotonic_ns,
        *,
        run: str = "",
    ) -> None:
        self._contract = contract
        self._motion = CurrentMotion(gate, monotonic_ns, is_shadow=contract.motion.is_shadow)
        self.robot = RobotState(contract, self._motion)
        self.forecasts = MotionForecasts(self._motion, contract.control_rate_hz)
        self._intake = ChunkIntake(contract, self.robot, self._motion, run)
        self._observation_age = self._age_window()

    # What is played

    @property
    def is_shadow(self) -> bool:
        """Whether the commands are computed and reported, and must not be published."""
        return self._motion.is_shadow

    @property
    def is_steered(self) -> bool:
        """Whether the commands follow a person."""
        player = self._motion.player
        return player is not None and player.is_steered

    @property
    def is_playing(self) -> bool:
        """Whether the commands follow a chunk, not yet on the way to rest."""
        command = self._motion.command
        return command is not None and not command.holding and not self.is_steered

    @property
    def command(self) -> Command | None:
        """The newest command; None before the first."""
        return self._motion.command

    @property
    def is_at_rest(self) -> bool:
        """Whether the robot was told nothing yet, or to rest."""
        with self._motion.lock:
            return self._motion.is_at_rest

    @property
    def is_stop_in_doubt(self) -> bool:
        """Whether it is not known yet that the robot carries out the way to rest it was sent."""
        with self._motion.lock:
            player = self._motion.look_ahead_player
            return player is not None and not self._motion.failure and player.is_stop_in_doubt

    @property
    def braking_s(self) -> float:
        """The time that the robot needs to come to rest from the last command, s."""
        with self._motion.lock:
            player = self._motion.player
            return player.braking_s if player is not None else 0.0

    @property
    def reason(self) -> str:
        """Why nothing is played; empty while a chunk is."""
        motion = self._motion
        player, command = motion.player, motion.command
        if motion.failure is not None:
            return motion.failure.text
        if player is not None and command is not None:
            return player.reason
        reason = player.reason if player is not None else self._intake.refusal
        return motion.why_inhibited() or reason or "no chunk received yet"

    @property
    def failure(self) -> str:
        """The failure with its traceback; empty if nothing has failed."""
        failure = self._motion.failure
        return failure.text if failure is not None else ""

    @property
    def fault(self) -> str:
        """The fault that stopped the motion and needs a person; empty if there is none.

        A shadow needs nobody: `shadow_fault` says what would have stopped the robot.
        """
        return self.failure or ("" if self.is_shadow else self._motion.player_fault)

    @property
    def shadow_fault(self) -> str:
        """The fault that would have stopped the robot; empty if it is commanded, or for none."""
        return self._motion.player_fault if self.is_shadow else ""

    # What is counted and recorded

    @property
    def source(self) -> str:
        """The run of the policy node whose chunks are played; empty before the first chunk."""
        return self._intake.source

    @property
    def refusal(self) -> str:
        """Why the newest chunk was rejected; empty if it was accepted."""
        return self._intake.refusal

    @property
    def chunk_warning(self) -> str:
        """The suspected fault in the units or the rate of the newest chunk; empty if none."""
        return self._intake.warning

    @property
    def chunks_rejected(self) -> int:
        """Chunks that were rejected, before and by the player."""
        return self._intake.rejected

    @property
    def counts(self) -> PlayerCounts:
        """The player's counts so far."""
        player = self._motion.player
        return player.counts if player is not None else PlayerCounts()

    @property
    def blend_offset(self) -> float:
        """The largest distance of the newest chunk from the motion on its arrival, rad or m."""
        player = self._motion.player
        return player.chunk_jump if player is not None else 0.0

    @property
    def trajectory_lead_s(self) -> float:
        """How far ahead whole trajectories are planned at present, s; 0 where none are sent."""
        player = self._motion.look_ahead_player
        return player.lead_s if player is not None else 0.0

    @property
    def events(self) -> list[Event] | None:
        """The recorded events of the run; None if it is not recorded."""
        player = self._motion.player
        recording = player.player if isinstance(player, LookAheadPlayer) else player
        return recording.events if isinstance(recording, RecordingPlayer) else None

    def observation_age(self) -> LatencyStatistics:
        """The age of the observations behind the commands of the last minute."""
        return self._observation_age.statistics()

    def report(self) -> list[JointReport]:
        """Target, command and measurement of every commanded value."""
        with self._motion.lock:
            player = self._motion.player
            return player.report() if player is not None else []

    # What moves the robot, and what brings it to rest

    def accept(self, message: ActionChunk, now_ns: int) -> None:
        """Accept a message of the chunk topic; the robot moves on or comes to rest in any case.

        Args:
            message: A chunk, or the request to stop playing.
            now_ns: The current time on the clock of the observation stamps, ns.

        Raises:
            ChunkRefusedError: The chunk must not move the robot; the current motion continues.
        """
        if message.stop:
            self.hold(now_ns, f"stopped by the policy node: {message.stop_reason}")
            return
        with self._motion.lock:
            failure = self._motion.failure
            if failure is not None:
                raise ChunkRefusedError(f"chunk {message.chunk_id}: {failure.text}")
            try:
                self._intake.offer(message, now_ns)
            except ChunkRefusedError:
                raise
            except Exception:  # no message may end the loop
                self._motion.fail(f"chunk {message.chunk_id} could not be accepted")

    def steer(self, intervention: Intervention, now_ns: int) -> None:
        """Go where the person who drives wants the robot.

        Args:
            intervention: The newest commands of their devices.
            now_ns: The present, on the clock of the observation stamps, ns.

        Raises:
            SteeringRefusedError: The robot must not go there; the text says why.
        """
        with self._motion.lock:
            failure = self._motion.failure
            if failure is not None:
                raise SteeringRefusedError(failure.text)
            try:
                self._steer(intervention, now_ns)
            except SteeringRefusedError:
                raise
            except Exception:  # no message may end the loop
                self._motion.fail("a command of a person could not be followed")

    def hold(self, now_ns: int, reason: str) -> None:
        """Come to rest; after a failure the robot brakes already."""
        with self._motion.lock:
            player = self._motion.player
            if player is None or self._motion.failure is not None:
                return
            try:
                player.hold(now_ns, reason)
            except Exception:  # no request to stop may end the node without braking
                self._motion.fail("a stop could not be planned")

    def end(self, now_ns: int) -> None:
        """Come to rest, and do not move before `forget_chunks`.

        Motion is inhibited on the way: no measurement arrives before rest, so that whether the
        robot follows cannot be judged.
        """
        with self._motion.lock:
            self._motion.is_ending = True
        self.hold(now_ns, DEACTIVATED)

    def leave_path(self, keys: Collection[str], now_ns: int, reason: str) -> None:
        """Stop, because the controllers of some action keys have left the path, and hold these.

        Motion begins again where they stand, once they do.
        """
        with self._motion.lock:
            player = self._motion.look_ahead_player
            if player is not None and self._motion.failure is None:
                player.release(keys, now_ns, reason)

    def use_shadow(self, is_shadow: bool) -> None:
        """Command nothing from now on, or command the robot again from where it is measured.

        The chunks so far are forgotten: a robot that is to be commanded no more must be at rest.
        """
        with self._motion.lock:
            self._motion.is_shadow = is_shadow
            self._motion.forget()
            self._intake.forget_chunks()

    def tick(self, now_ns: int) -> Command | None:
        """Return the command of this tick. Never raises.

        None before the first one, and in shadow: whether a command is published is decided where it
        is computed, or one of the shadow might go out after a change to live.

        Args:
            now_ns: The present, on the clock of the observation stamps, ns.
        """
        motion = self._motion
        with motion.lock:
            motion.tick(now_ns)
            command = motion.command
            if command is not None and command.observed_ns is not None:
                self._observation_age.add((now_ns - command.observed_ns) * 1e-9)
            return None if motion.is_shadow else command

    def standstill(self) -> Command | None:
        """Return the last command with zero velocity; None if nothing has been commanded."""
        with self._motion.lock:
            return self._motion.standstill()

    def fail(self, what: str) -> None:
        """Come to rest and do not move again; call it where an exception is handled."""
        with self._motion.lock:
            self._motion.fail(what)

    def forget_chunks(self) -> None:
        """End the activation: forget the chunks, keep the measurements."""
        with self._motion.lock:
            self._motion.forget()
            self._intake.end_activation()
            self._observation_age = self._age_window()

    def _age_window(self) -> LatencyWindow:
        return LatencyWindow(max(1, round(WINDOW_S * self._contract.control_rate_hz)))

    def _steer(self, intervention: Intervention, now_ns: int) -> None:
        player = self._motion.player
        if player is None:
            layout = make_layout(self._contract, intervention.dimensions())
            try:
                player = self.robot.begin_motion(layout)
            except ChunkRefusedError as error:
                raise SteeringRefusedError(str(error)) from error
        player.inhibit(self._motion.why_inhibited())
        target = intervention.target(player.layout, player.place, now_ns)
        player.steer(target, now_ns)
