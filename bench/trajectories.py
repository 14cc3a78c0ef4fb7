# SPDX-License-Identifier: Apache-2.0
"""make bench-trajectories: what a joint_trajectory_controller makes of each way to command it.

In virtual time, without ROS: the same chunks, player and limits for each row, and the controller of
`bench/trajectory_controller.py` at 1000 Hz behind a joint that follows with a lag.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from bench import meta
from bench.processes import ROOT
from bench.report import meta_report, say, write_result, write_section
from bench.trajectory_controller import Point, TrajectoryController
from gr00t_policy_core.control.action_layout import ActionLayout
from gr00t_policy_core.control.chunk import Chunk
from gr00t_policy_core.control.joint_limits import JointLimits
from gr00t_policy_core.control.look_ahead import LookAheadPlayer
from gr00t_policy_core.control.player import MotionPlayer
from gr00t_policy_core.control.player_settings import PlayerSettings
from gr00t_policy_core.control.schedule_settings import ScheduleSettings
from gr00t_policy_core.control.trajectory import Trajectory

PAGE = ROOT / "docs" / "benchmarks" / "trajectories.md"
RESULT = ROOT / "build" / "bench" / "trajectories.json"
JOINTS, HORIZON, STEP_S, REPLAN_S, LATENCY_S = 3, 16, 0.05, 0.4, 0.12
PERIOD_S, UPDATE_S, LAG_S, LEAD_S = 0.01, 0.001, 0.01, 0.1
LIMITS = JointLimits(-3.0, 3.0, 3.0, 25.0, 500.0)  # the defaults
NOISE_RAD = 0.02  # how much two chunks of a sampling policy differ
FIRST_S = 1.0  # left out: the robot sets out
START_NS = 10**12  # where the virtual clock begins, ns

Send = Callable[[float, list[Point]], None]


@dataclass(frozen=True, slots=True)
class Loop:
    """How punctual the control loop is: the mean lateness of a tick, s, and lost ticks."""

    name: str
    late_s: float
    lost_share: float


LOOPS = (Loop("punctual", 0.0002, 0.0), Loop("busy", 0.003, 0.02))


@dataclass(frozen=True, slots=True)
class Way:
    """One way to command the controller.

    Attributes:
        name: In the results.
        kind: ``stream``, ``trajectory``, or ``chunks`` for the policy's steps as they are.
        derivatives: How many derivatives the points of trajectories have.
        from_desired: The controller's parameter `interpolate_from_desired_state`.
    """

    name: str
    kind: str
    derivatives: int = 0
    from_desired: bool = False


WAYS = (
    Way("policy's steps, positions only", "chunks"),
    Way("mode: stream", "stream"),
    Way("mode: stream, interpolate_from_desired_state", "stream", from_desired=True),
    Way("mode: trajectory", "trajectory", derivatives=2),
    Way("the same without derivatives", "trajectory"),
)


@dataclass(slots=True)
class World:
    """A controller, its joints, and messages on their way to it."""

    controller: TrajectoryController
    luck: random.Random
    measured: NDArray[np.float64] = field(default_factory=lambda: np.zeros(JOINTS))
    pending: list[tuple[float, float, list[Point]]] = field(default_factory=list)
    commands: list[NDArray[np.float64]] = field(default_factory=list)

    def send(self, now_s: float, stamp_s: float, points: list[Point]) -> None:
        """A message that arrives 0.3 to 2 ms later."""
        self.pending.append((now_s + self.luck.uniform(0.0003, 0.002), stamp_s, points))

    def update(self, now_s: float) -> None:
        for message in [one for one in self.pending if one[0] <= now_s]:
            self.pending.remove(message)
            self.controller.receive(message[1], message[2], now_s)
        command = self.controller.update(now_s, self.measured)
        self.measured = self.measured + (command - self.measured) * UPDATE_S / LAG_S
        self.commands.append(np.array(command))


def chunk(number: int, t0_s: float, luck: random.Random) -> Chunk:
    """A chunk along sines, off by the noise of a policy that samples."""
    times_s = t0_s + STEP_S * np.arange(HORIZON)
    offsets = [luck.gauss(0.0, NOISE_RAD) if number > 1 else 0.0 for _ in range(JOINTS)]
    rows = [0.5 * np.sin((1.0 + 0.3 * n) * times_s) + offsets[n] for n in range(JOINTS)]
    return Chunk(number, START_NS + round(t0_s * 1e9), STEP_S, {"arm": np.stack(rows, axis=1)})


def run(way: Way, loop: Loop, duration_s: float, seed: int) -> NDArray[np.float64]:
    """The controller's commands at 1000 Hz, float64 (n, JOINTS)."""
    luck = random.Random(seed)
    world = World(TrajectoryController(np.zeros(JOINTS), way.from_desired), random.Random(seed + 1))
    ticks = _ticks(loop, duration_s, random.Random(seed + 2))
    play = _chunks(world) if way.kind == "chunks" else _player(way, world)
    next_tick_s, number, due_s = next(ticks), 0, 0.0
    for update in range(round(duration_s / UPDATE_S)):
        now_s = update * UPDATE_S
        if now_s >= due_s + LATENCY_S:
            number, due_s = number + 1, due_s + REPLAN_S
            play(now_s, chunk(number, due_s - REPLAN_S, luck))
        while next_tick_s <= now_s:
            play(now_s, None)
            next_tick_s = next(ticks)
        world.update(now_s)
    return np.stack(world.commands[round(FIRST_S / UPDATE_S) :])


def _ticks(loop: Loop, duration_s: float, luck: random.Random) -> Iterator[float]:
    number = 0
    while True:
        late_s = luck.expovariate(1.0 / loop.late_s)
        if luck.random() < loop.lost_share:
            number += 3
        yield number * PERIOD_S + min(late_s, 0.9 * PERIOD_S)
        number += 1


def _chunks(world: World) -> Callable[[float, Chunk | None], None]:
    """Each chunk goes to the controller as the policy answered it."""

    def play(now_s: float, new: Chunk | None) -> None:
        if new is None:
            return
        rows = new.actions["arm"]
        points = [Point(i * STEP_S, row) for i, row in enumerate(rows)]
        world.send(now_s, (new.t0_ns - START_NS) * 1e-9 or 1e-9, points)

    return play


def _player(way: Way, world: World) -> Callable[[float, Chunk | None], None]:
    layout = ActionLayout({"arm": JOINTS})
    settings = PlayerSettings(
        period_s=PERIOD_S,
        schedule=ScheduleSettings(cubic=True),
        limits=dict.fromkeys(range(JOINTS), LIMITS),
    )
    inner = MotionPlayer(layout, settings)
    ahead = LookAheadPlayer(inner, layout, period_s=PERIOD_S, lead_s=LEAD_S, forecast_keys=("arm",))
    player = ahead if way.kind == "trajectory" else inner

    def play(now_s: float, new: Chunk | None) -> None:
        now_ns = START_NS + round(now_s * 1e9)
        if new is not None:
            player.offer(new, now_ns)
            return
        player.measure(dict(enumerate(world.measured.tolist())), now_ns)
        command = player.tick(now_ns)
        if way.kind == "stream" and command is not None:
            world.send(now_s, 0.0, [Point(PERIOD_S, command.vector)])
        forecast = ahead.take_forecast() if player is ahead else None
        trajectory = forecast.run() if forecast is not None else None
        if forecast is not None and trajectory is not None:
            start_s = (trajectory.start_ns - START_NS) * 1e-9
            world.send(now_s + 0.03, start_s, _points(trajectory, way.derivatives))  # its time
            ahead.finish_forecast(forecast, trajectory)

    return play


def _points(trajectory: Trajectory, derivatives: int) -> list[Point]:
    velocities, accelerations = trajectory.velocities(), trajectory.accelerations()
    return [
        Point(
            i * PERIOD_S,
            row,
            velocities[i] if derivatives else None,
            accelerations[i] if derivatives > 1 else None,
        )
        for i, row in enumerate(trajectory.rows)
    ]


def summarize(commands: NDArray[np.float64]) -> dict[str, float]:
    """The numbers of one row; a velocity step is the change of velocity within 1 ms."""
    velocities = np.diff(commands, axis=0) / UPDATE_S
    steps = np.abs(np.diff(velocities, axis=0))
    accelerations = np.diff(velocities, axis=0) / UPDATE_S
    return {
        "velocity_step_max": float(steps.max()),
        "velocity_step_p99": float(np.percentile(steps, 99.0)),
        "acceleration_rms": float(np.sqrt(np.mean(accelerations**2))),
        "acceleration_max": float(np.abs(accelerations).max()),
        "velocity_max": float(np.abs(velocities).max()),
    }


def main(args: Sequence[str] | None = None) -> int:
    """Command line; see ``--help``."""
    parser = argparse.ArgumentParser(prog="python -m bench.trajectories", description=__doc__)
    parser.add_argument("--seconds", type=float, default=30.0, help="virtual time of a row, s")
    parser.add_argument("--quick", action="store_true", help="5 s a row, docs untouched")
    options = parser.parse_args(args)
    about = {**meta.describe(0.0), "quick": options.quick}
    rows = []
    for loop in LOOPS:
        for way in WAYS:
            numbers = summarize(run(way, loop, 5.0 if options.quick else options.seconds, seed=1))
            rows.append({"way": way.name, "loop": loop.name, **numbers})
            say(f"{way.name}, {loop.name} loop: {numbers}")
    write_result(RESULT, about, rows)
    text = _table(rows)
    say(f"\n{text}\n")
    if not options.quick:
        write_section("trajectories", f"{meta_report(about)}\n\n{text}", PAGE)
    return 0


def _table(rows: Sequence[dict[str, object]]) -> str:
    lines = [
        "| way | control loop | velocity step in 1 ms, largest / p99 (rad/s) | acceleration, RMS / "
        "largest (rad/s²) | velocity, largest (rad/s) |",
        "|---|---|---|---|---|",
    ]
    for row in rows:
        lines.append(
            f"| {row['way']} | {row['loop']} | {row['velocity_step_max']:.3f} / "
            f"{row['velocity_step_p99']:.3f} | {row['acceleration_rms']:.1f} / "
            f"{row['acceleration_max']:.0f} | {row['velocity_max']:.2f} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    raise SystemExit(main())
