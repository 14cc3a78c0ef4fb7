# SPDX-License-Identifier: Apache-2.0
"""Reads a run from the control node's own recording (`record_path`).

The recording holds what the node received. What it commanded is computed again, bit for bit, by a
player with the robot's limits: from the YAML file, and from the robot description if the limits of
the run came from there.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from gr00t_policy_core.control.action_layout import ActionLayout
from gr00t_policy_core.control.chunk import Chunk, ChunkRefusedError
from gr00t_policy_core.control.command import Command
from gr00t_policy_core.control.player import MotionPlayer
from gr00t_policy_core.control.recording import (
    Event,
    Limited,
    Measured,
    Offered,
    Steered,
    Ticked,
    TruncatedRecordingError,
    read_events,
    replay,
)
from gr00t_policy_core.errors import SpecError
from gr00t_ros.contract.contract import Contract
from gr00t_ros.control.motion_setup import make_layout, make_player
from gr00t_ros.diagnose.phases import PhaseLog
from gr00t_ros.diagnose.run import NAN, Activity, Counters, Run, RunChunk, Series
from gr00t_ros.diagnose.run_clock import RunClock

NO_COMMANDS = (
    "a recording holds no commands: with --config, the robot's YAML file, they are computed again"
)


def read_recording(path: Path, contract: Contract | None) -> Run:
    """Read a run.

    Args:
        path: The recording.
        contract: The robot; None where it is not known: commands and holds are then missing.

    Raises:
        SpecError: The file is not a recording, has no chunk, or is of another robot.
        OSError: The file cannot be read.
    """
    events, notes = _events(path)
    first = next((event.chunk for event in events if isinstance(event, Offered)), None)
    if first is None:
        raise SpecError("nothing to diagnose", [f"{path} has no chunk"])
    if contract is None:
        layout, player = ActionLayout(_dimensions(first)), None
    else:
        layout = _layout_of(path, contract, first)
        player = make_player(contract, layout, {})
    _require_one_robot(path, events, layout)
    return _Reader(path, layout, player, notes).read(events)


def _events(path: Path) -> tuple[list[Event], tuple[str, ...]]:
    """The events of a recording, and a note where its end is missing."""
    events: list[Event] = []
    try:
        events.extend(read_events(path))
    except TruncatedRecordingError as error:
        return events, (str(error),)
    except ValueError as error:
        raise SpecError("cannot read the recording", [str(error)]) from error
    return events, ()


def _require_one_robot(path: Path, events: Sequence[Event], layout: ActionLayout) -> None:
    """Require that every event is of a robot with this layout."""
    for event in events:
        match event:
            case Offered():
                fits = _dimensions(event.chunk) == dict(layout.dimensions)
            case Measured(indexed) | Limited(indexed):
                fits = all(0 <= index < layout.size for index in indexed)
            case Steered():
                fits = len(event.target) == layout.size
            case _:
                continue
        if not fits:
            raise SpecError(
                "the recording is of several robots",
                [f"{path}: {type(event).__name__} does not fit {dict(layout.dimensions)}"],
            )


def _layout_of(path: Path, contract: Contract, chunk: Chunk) -> ActionLayout:
    missing = [output.key for output in contract.action if output.key not in chunk.actions]
    if missing:
        raise SpecError(
            "the recording is of another robot",
            [f"{path} has the action keys {sorted(chunk.actions)}, the YAML file has {missing}"],
        )
    return make_layout(contract, _dimensions(chunk))


def _dimensions(chunk: Chunk) -> dict[str, int]:
    return {key: rows.shape[1] for key, rows in chunk.actions.items()}


class _Reader:
    """Goes through the events of a recording once."""

    def __init__(
        self,
        path: Path,
        layout: ActionLayout,
        player: MotionPlayer | None,
        notes: tuple[str, ...],
    ) -> None:
        self._path = path
        self._notes = notes
        self._layout = layout
        self._player = player
        self._clock = RunClock()
        self._now_s: float | None = None  # the time of the newest call, s
        self._phases = PhaseLog()
        self._chunks: list[RunChunk] = []
        self._command_times_s: list[float] = []
        self._commands: list[list[float]] = []
        self._measured_times_s: list[float] = []
        self._stamps_ns: list[int] = []  # of the measurements since the newest call
        self._measured: list[list[float]] = []

    def read(self, events: Sequence[Event]) -> Run:
        for event in events:
            match event:
                case Measured():
                    self._measure(event)
                case Offered():
                    self._offer(event)
                case Ticked():
                    self._tick(event)
                case _:
                    self._repeat(event)
        self._place_measurements()
        size = self._layout.size
        return Run(
            source=str(self._path),
            joints=tuple(self._layout.name_of(index) for index in range(size)),
            chunks=tuple(self._chunks),
            commands=Series.of(self._command_times_s, self._commands, size),
            measured=Series.of(self._measured_times_s, self._measured, size),
            phases=self._phases.phases(),
            clock_jumps=tuple(self._clock.jumps),
            counters=self._counters(),
            notes=(*self._notes, *((NO_COMMANDS,) if self._player is None else ())),
        )

    def _measure(self, event: Measured) -> None:
        self._repeat(event)
        row = [event.positions.get(index, NAN) for index in range(self._layout.size)]
        self._stamps_ns.append(event.stamp_ns)
        self._measured.append(row)

    def _offer(self, event: Offered) -> None:
        received_s = self._time_s(event.now_ns)
        refused = ""
        if self._player is not None:
            try:
                self._player.offer(event.chunk, event.now_ns)
            except ChunkRefusedError as error:
                refused = str(error)
        chunk = event.chunk
        self._chunks.append(
            RunChunk(
                chunk_id=chunk.chunk_id,
                t0_s=self._stamp_s(chunk.t0_ns),
                received_s=received_s,
                dt_s=chunk.dt_s,
                values=self._layout.rows(chunk),
                refused=refused,
            )
        )

    def _tick(self, event: Ticked) -> None:
        time_s = self._time_s(event.now_ns)
        if self._player is None:
            return
        (command,) = self._repeat(event)
        if command is None:
            self._phases.observe(time_s, Activity.WAITING, self._player.reason)
            return
        activity = Activity.HOLDING if command.holding else Activity.PLAYING
        if self._player.is_steered:
            activity = Activity.INTERVENTION
        self._phases.observe(time_s, activity, self._player.reason)
        row = np.concatenate([command.values[key] for key in self._layout.dimensions])
        self._command_times_s.append(time_s)
        self._commands.append(row.tolist())

    def _time_s(self, now_ns: int) -> float:
        """The time of a call by the clock of the run, s."""
        self._now_s = self._clock.receive("calls", now_ns * 1e-9)
        self._place_measurements()
        return self._now_s

    def _place_measurements(self) -> None:
        """Give measurements their times: the call after them shows whether the clock was set."""
        self._measured_times_s.extend(map(self._stamp_s, self._stamps_ns))
        self._stamps_ns.clear()

    def _stamp_s(self, stamp_ns: int) -> float:
        stamp_s = stamp_ns * 1e-9
        return stamp_s if self._now_s is None else self._clock.near(stamp_s, self._now_s)

    def _repeat(self, event: Event) -> list[Command | None]:
        """Repeat a recorded call, where there is a player; returns the command of a tick."""
        return [] if self._player is None else list(replay([event], self._player))

    def _counters(self) -> Counters:
        if self._player is None:
            return Counters()
        counts = self._player.counts
        return Counters(
            commands=counts.ticks,
            holds=counts.holds,
            stalls=counts.stalls,
            stalled_s=counts.stalled_ns * 1e-9,
            limiter_hits=counts.limit_hits.total(),
            chunks_rejected=counts.refused,
        )
