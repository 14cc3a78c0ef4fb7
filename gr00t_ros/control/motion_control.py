# SPDX-License-Identifier: Apache-2.0
"""Turns chunks and measurements into commands, and comes to rest if anything fails. Pure.

Safe between threads: the control loop ticks while the executor delivers chunks and measurements.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from gr00t_policy_core.control.action_layout import ActionLayout
from gr00t_policy_core.control.chunk import ChunkRefusedError
from gr00t_policy_core.control.command import Command, JointReport, PlayerCounts
from gr00t_policy_core.control.look_ahead import LookAheadPlayer
from gr00t_policy_core.control.motion_gate import MotionGate
from gr00t_policy_core.control.recording import Event, RecordingPlayer
from gr00t_policy_core.control.steering import SteeringRefusedError
from gr00t_policy_core.control.trajectory import Forecast, Trajectory
from gr00t_policy_core.kinematics.urdf import UrdfLimits
from gr00t_ros.contract.contract import Contract
from gr00t_ros.contract.streams import StateStream
from gr00t_ros.control.binary_grips import BinaryGrips
from gr00t_ros.control.chunk_reader import read_chunk
from gr00t_ros.control.chunk_source import ChunkSource
from gr00t_ros.control.chunk_warnings import unit_warning
from gr00t_ros.control.intervention import Intervention
from gr00t_ros.control.motion_failure import MotionFailure
from gr00t_ros.control.motion_setup import (
    CommandedJoints,
    CommandedPoses,
    LimitsInForce,
    Player,
    limits_by_index,
    limits_in_force,
    make_layout,
    make_player,
)
from gr00t_ros.control.workspaces import NO_CHAINS, Chains, workspaces_in_force
from gr00t_ros.interfaces.interface import MeasuredPose, StateInterface
from gr00t_ros.msg import ActionChunk, LatencyStatistics
from gr00t_ros.node.latency_window import WINDOW_S, LatencyWindow


class MotionControl:
    """Plays one chunk after another for each activation.

    If anything raises while the robot moves, the robot comes to rest by a path that does not need
    the failed part. `failure` describes the failure, and the robot does not move again.

    Args:
        contract: The commanded values, and how chunks are played.
        gate: Says whether the robot must not move, and why.
        urdf: Limits from the current robot description, by joint.
        monotonic_ns: The clock of the gate, ns.
    """

    def __init__(
        self,
        contract: Contract,
        gate: MotionGate,
        urdf: Mapping[str, UrdfLimits],
        monotonic_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self._contract = contract
        self._gate = gate
        self._urdf = urdf
        self._chains = NO_CHAINS
        self._monotonic_ns = monotonic_ns
        self._lock = threading.Lock()
        self._joints = CommandedJoints(contract)
        self._poses = CommandedPoses(contract)
        self._source = ChunkSource()
        self._grips = BinaryGrips(contract)
        self._player: Player | None = None
        self._layout: ActionLayout | None = None
        self._observation_age = self._age_window()
        self._command: Command | None = None
        self._rejected = 0  # chunks that were rejected before a player existed
        self._why_not = ""
        self._failure: MotionFailure | None = None
        self._chunk_warning = ""
        self._is_shadow = contract.motion.is_shadow

    @property
    def is_shadow(self) -> bool:
        """Whether the commands are computed and reported, and must not be published."""
        return self._is_shadow

    @property
    def is_steered(self) -> bool:
        """Whether the commands follow a person."""
        return self._player is not None and self._player.is_steered

    @property
    def refusal(self) -> str:
        """Why the newest chunk was rejected; empty if it was accepted."""
        return self._player.refusal if self._player is not None else self._why_not

    @property
    def chunk_warning(self) -> str:
        """The suspected fault in the units or the rate of the newest chunk; empty if none."""
        return self._chunk_warning

    @property
    def joint_interfaces(self) -> Mapping[str, Sequence[StateInterface]]:
        """The interfaces that read the positions of commanded joints, by topic."""
        return self._joints.interfaces

    @property
    def pose_streams(self) -> Mapping[str, StateStream]:
        """The stream that measures each pose that is commanded, by action key."""
        return self._poses.streams

    @property
    def command(self) -> Command | None:
        """The newest command; None before the first."""
        return self._command

    @property
    def counts(self) -> PlayerCounts:
        """The player's counts so far."""
        return self._player.counts if self._player is not None else PlayerCounts()

    @property
    def chunks_rejected(self) -> int:
        """Chunks that were rejected, before and by the player."""
        return self._rejected + self.counts.refused

    @property
    def blend_offset(self) -> float:
        """The largest distance of the newest chunk from the motion on its arrival, rad or m."""
        return self._player.chunk_jump if self._player is not None else 0.0

    @property
    def source(self) -> str:
        """The run of the policy node whose chunks are played; empty before the first chunk."""
        return self._source.name

    @property
    def failure(self) -> str:
        """The failure with its traceback; empty if nothing has failed."""
        return self._failure.text if self._failure is not None else ""

    @property
    def fault(self) -> str:
        """The fault that stopped the motion and needs a person; empty if there is none.

        A shadow needs nobody: `shadow_fault` says what would have stopped the robot.
        """
        return self.failure or ("" if self._is_shadow else self._player_fault)

    @property
    def shadow_fault(self) -> str:
        """The fault that would have stopped the robot; empty if it is commanded, or for none."""
        return self._player_fault if self._is_shadow else ""

    @property
    def reason(self) -> str:
        """Why nothing is played; empty while a chunk is."""
        player, command = self._player, self._command
        if self._failure is not None:
            return self._failure.text
        if player is not None and command is not None:
            return player.reason
        reason = player.reason if player is not None else self._why_not
        return self._why_inhibited() or reason or "no chunk received yet"

    @property
    def is_at_rest(self) -> bool:
        """Whether nothing has been commanded yet, or the last command is at rest."""
        return self._command is None or self._command.at_rest

    @property
    def braking_s(self) -> float:
        """The time that the robot needs to come to rest from the last command, s."""
        with self._lock:
            return self._player.braking_s if self._player is not None else 0.0

    @property
    def events(self) -> list[Event] | None:
        """The recorded events of the run; None if it is not recorded."""
        player = self._player
        recording = player.player if isinstance(player, LookAheadPlayer) else player
        return recording.events if isinstance(recording, RecordingPlayer) else None

    def observation_age(self) -> LatencyStatistics:
        """The age of the observations behind the commands of the last minute."""
        return self._observation_age.statistics()

    def report(self) -> list[JointReport]:
        """Target, command and measurement of every commanded value."""
        with self._lock:
            return self._player.report() if self._player is not None else []

    def measured(self) -> dict[str, float]:
        """The newest position of each commanded joint that was measured, by name, rad (or m)."""
        with self._lock:
            return self._joints.positions

    def limits(self) -> tuple[LimitsInForce, ...]:
        """The limits in force, with their sources."""
        return limits_in_force(self._contract, self._urdf)

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
        with self._lock:
            if self._failure is not None:
                raise ChunkRefusedError(f"chunk {message.chunk_id}: {self._failure.text}")
            try:
                self._offer(message, now_ns)
            except ChunkRefusedError:
                raise
            except Exception:  # no message may end the loop
                self._fail(f"chunk {message.chunk_id} could not be accepted")

    def steer(self, intervention: Intervention, now_ns: int) -> None:
        """Go where the person who drives wants the robot.

        Args:
            intervention: The newest commands of their devices.
            now_ns: The present, on the clock of the observation stamps, ns.

        Raises:
            SteeringRefusedError: The robot must not go there; the text says why.
        """
        with self._lock:
            if self._failure is not None:
                raise SteeringRefusedError(self._failure.text)
            try:
                self._steer(intervention, now_ns)
            except SteeringRefusedError:
                raise
            except Exception:  # no message may end the loop
                self._fail("a command of a person could not be followed")

    def use_shadow(self, is_shadow: bool) -> None:
        """Command nothing from now on, or command the robot again from where it is measured.

        The chunks so far are forgotten: a robot that is to be commanded no more must be at rest.
        """
        with self._lock:
            self._is_shadow = is_shadow
            self._player = self._layout = self._command = None
            self._grips = BinaryGrips(self._contract)
            self._why_not = self._chunk_warning = ""

    def hold(self, now_ns: int, reason: str) -> None:
        """Come to rest."""
        with self._lock:
            if self._player is not None:
                self._player.hold(now_ns, reason)

    def measure_joints(
        self, names: Sequence[str], positions: Sequence[float], stamp_ns: int
    ) -> None:
        """Store measured joint positions, rad (or m)."""
        with self._lock:
            self._joints.update(names, positions, stamp_ns)
            self._update_measured()

    def measure_pose(self, key: str, pose: MeasuredPose, stamp_ns: int) -> str:
        """Store the measured pose of an action.

        Returns:
            Why it cannot be compared with the commands; empty where it can.
        """
        with self._lock:
            problem = self._poses.update(key, pose, stamp_ns)
            self._update_measured()
        return problem

    def take_limits(
        self, urdf: Mapping[str, UrdfLimits], now_ns: int, chains: Chains = NO_CHAINS
    ) -> None:
        """Use the limits of a robot description; a moving robot comes to rest first.

        Args:
            urdf: The limits by joint.
            now_ns: The current time on the clock of the observation stamps, ns.
            chains: The kinematics of the workspaces, by their keys.
        """
        with self._lock:
            before = self.limits()
            self._urdf, self._chains = urdf, chains
            player, layout = self._player, self._layout
            if player is None or layout is None or (self.limits() == before and not chains):
                return
            workspaces = workspaces_in_force(self._contract, chains, layout)
            player.change_limits(limits_by_index(self.limits(), layout), now_ns, workspaces)

    def forget_chunks(self) -> None:
        """End the activation: forget the chunks, keep the measurements."""
        with self._lock:
            self._player = self._layout = self._command = None
            self._source = ChunkSource()
            self._grips = BinaryGrips(self._contract)
            self._observation_age = self._age_window()
            self._rejected, self._why_not, self._chunk_warning = 0, "", ""

    def standstill(self) -> Command | None:
        """Return the last command with zero velocity; None if nothing has been commanded."""
        with self._lock:
            command, layout = self._command, self._layout
            if command is None or layout is None or self._is_shadow:
                return None
            vector = np.concatenate([command.values[key] for key in layout.dimensions])
            vector[layout.is_velocity] = 0.0
            return replace(command, values=layout.split(vector), holding=True)

    def tick(self, now_ns: int) -> Command | None:
        """Return the command of this tick. Never raises.

        None before the first one, and in shadow: whether a command is published is decided where it
        is computed, or one of the shadow might go out after a change to live.

        Args:
            now_ns: The present, on the clock of the observation stamps, ns.
        """
        with self._lock:
            if self._failure is None:
                try:
                    self._command = self._play(now_ns)
                except Exception:
                    self._fail("the motion cannot be computed")
            if self._failure is not None:
                self._command = self._brake(self._failure)
            command = self._command
            if command is not None and command.observed_ns is not None:
                self._observation_age.add((now_ns - command.observed_ns) * 1e-9)
            return None if self._is_shadow else command

    def take_forecast(self, now_ns: int) -> Forecast | None:
        """Return a forecast where the path has departed from the trajectory that was sent last.

        Call it after `tick`, run it, and send the trajectory if it is still awaited, then call
        `finish_forecast`; or call `retry` where it came too late.

        Args:
            now_ns: The time of the tick, ns.
        """
        with self._lock:
            player, command, layout = self._player, self._command, self._layout
            if not isinstance(player, LookAheadPlayer) or layout is None or self._is_shadow:
                return None
            if self._failure is None:
                return player.take_forecast()
            if command is None:
                return None
            period_ns = round(1e9 / self._contract.control_rate_hz)
            return self._failure.take_forecast(command, layout, now_ns, period_ns)

    def awaits(self, forecast: Forecast) -> bool:
        """Whether a forecast is still to be sent: no stop and no failure has come meanwhile."""
        with self._lock:
            player, failure = self._player, self._failure
            if failure is not None:
                return failure.awaits(forecast)
            return isinstance(player, LookAheadPlayer) and player.awaits(forecast)

    def would_step(self, trajectory: Trajectory, now_ns: int) -> bool:
        """Whether the robot would jump if a path were sent now, ns, because it is late."""
        with self._lock:
            player = self._player
            return isinstance(player, LookAheadPlayer) and player.would_step(trajectory, now_ns)

    def finish_forecast(self, forecast: Forecast, trajectory: Trajectory) -> None:
        """Go on from a trajectory that was sent."""
        with self._lock:
            if isinstance(self._player, LookAheadPlayer):
                self._player.finish_forecast(forecast, trajectory)

    def retry(self, forecast: Forecast, now_ns: int) -> None:
        """Plan again from the present, because a forecast came too late.

        Args:
            forecast: The forecast; one that is awaited no more changes nothing.
            now_ns: The current time on the clock of the observation stamps, ns.
        """
        with self._lock:
            if isinstance(self._player, LookAheadPlayer):
                self._player.retry(forecast, now_ns)

    def fail(self, what: str) -> None:
        """Come to rest and do not move again; call it where an exception is handled."""
        with self._lock:
            self._fail(what)

    def _age_window(self) -> LatencyWindow:
        return LatencyWindow(max(1, round(WINDOW_S * self._contract.control_rate_hz)))

    def _offer(self, message: ActionChunk, now_ns: int) -> None:
        try:
            self._source.admit(message.source)
            chunk = read_chunk(self._contract, message)
            sizes = {key: rows.shape[1] for key, rows in chunk.actions.items()}
            player = self._player or self._make_player(make_layout(self._contract, sizes))
        except ChunkRefusedError as error:
            self._reject(str(error))
            raise
        player.inhibit(self._why_inhibited())
        # One that only opens and closes jumps between its two positions.
        smooth = [limits for limits in self.limits() if limits.key not in self._grips.keys]
        self._chunk_warning = unit_warning(chunk, smooth)
        grips = self._grips.plan(chunk, now_ns, self._joints.positions)
        try:
            player.offer(self._grips.steps(chunk, grips), now_ns)
            self._grips.keep(grips)
        except ChunkRefusedError as error:
            if not self._chunk_warning:
                raise
            explained = f"{error} ({self._chunk_warning})"
            player.explain_refusal(explained)
            raise ChunkRefusedError(explained) from error

    def _steer(self, intervention: Intervention, now_ns: int) -> None:
        player = self._player
        if player is None:
            layout = make_layout(self._contract, intervention.dimensions())
            try:
                player = self._make_player(layout)
            except ChunkRefusedError as error:
                raise SteeringRefusedError(str(error)) from error
        player.inhibit(self._why_inhibited())
        target = intervention.target(player.layout, player.place, now_ns)
        player.steer(target, now_ns)

    @property
    def _player_fault(self) -> str:
        return self._player.fault if self._player is not None else ""

    def _why_inhibited(self) -> str:
        """Why the robot must not move; a shadow moves nothing, and is never inhibited."""
        return "" if self._is_shadow else self._gate.reason(self._monotonic_ns())

    def _reject(self, reason: str) -> None:
        if self._player is not None:
            self._player.refuse(reason)
        else:
            self._rejected += 1
            self._why_not = reason

    def _make_player(self, layout: ActionLayout) -> Player:
        """Make the player from the first chunk: only a chunk shows the size of some keys."""
        try:
            player = make_player(
                self._contract, layout, self._urdf, self._chains, is_shadow=self._is_shadow
            )
        except ValueError as error:
            raise ChunkRefusedError(f"the limits contradict each other: {error}") from error
        self._player, self._layout = player, layout
        self._update_measured()
        return player

    def _update_measured(self) -> None:
        if self._player is not None and self._layout is not None:
            self._joints.update_player(self._player, self._layout)
            self._poses.update_player(self._player, self._layout)

    def _play(self, now_ns: int) -> Command | None:
        player = self._player
        if player is None:
            return None
        player.inhibit(self._why_inhibited())
        had_fault = bool(player.fault)
        command = player.tick(now_ns)
        if player.fault and not had_fault and not self._is_shadow:
            self._gate.stop(f"{player.fault}; ~/start allows motion again")
        return command

    def _fail(self, what: str) -> None:
        if self._failure is None:
            self._failure = MotionFailure(what, self._player)

    def _brake(self, failure: MotionFailure) -> Command | None:
        """Return the next command on the way to rest, without the player."""
        if self._command is None or self._layout is None:
            return None
        return failure.next_command(self._command, self._layout)
