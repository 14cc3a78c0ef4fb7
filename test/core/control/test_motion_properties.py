# SPDX-License-Identifier: Apache-2.0
"""Whatever chunks, joints, clocks and operators do: properties that no command may break."""

from __future__ import annotations

import contextlib
import dataclasses
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from limit_checks import PERIODS_S, require_within
from numpy.testing import assert_allclose, assert_array_equal

hypothesis = pytest.importorskip("hypothesis", reason="makes up the runs of these tests")
from hypothesis import example, given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

from gr00t_policy_core.control.action_layout import ActionLayout  # noqa: E402
from gr00t_policy_core.control.blend import BlendMode  # noqa: E402
from gr00t_policy_core.control.chunk import Chunk, ChunkRefusedError  # noqa: E402
from gr00t_policy_core.control.command import Command  # noqa: E402
from gr00t_policy_core.control.joint_limiter import JointLimiter  # noqa: E402
from gr00t_policy_core.control.joint_limits import JointLimits  # noqa: E402
from gr00t_policy_core.control.measured_state import MOVED  # noqa: E402
from gr00t_policy_core.control.player import MotionPlayer  # noqa: E402
from gr00t_policy_core.control.player_settings import (  # noqa: E402
    ObservationAgeLimit,
    OutOfRange,
    PlayerSettings,
)
from gr00t_policy_core.control.recording import RecordingPlayer, replay  # noqa: E402
from gr00t_policy_core.control.schedule import ChunkSchedule  # noqa: E402
from gr00t_policy_core.control.schedule_settings import ScheduleSettings  # noqa: E402

SETTINGS = settings(deadline=None, max_examples=60, derandomize=True)
T0_NS = 1_700_000_000_000_000_000
MS_NS = 1_000_000
DT_S = 0.05


def reals(low: float, high: float) -> st.SearchStrategy[float]:
    return st.floats(low, high, allow_nan=False, allow_infinity=False)


# The limiter


LIMITS = st.builds(
    JointLimits,
    lower=reals(-3.0, -0.1),
    upper=reals(0.1, 3.0),
    velocity=reals(0.1, 5.0),
    acceleration=reals(0.5, 50.0),
    jerk=reals(5.0, 2000.0),
)
# Stretches of a path: (ticks, speed in rad/s, jump before it in rad, whether to brake).
STRETCHES = st.lists(
    st.tuples(st.integers(1, 40), reals(-8.0, 8.0), reals(-1.0, 1.0), st.booleans()),
    min_size=1,
    max_size=8,
)


@SETTINGS
@given(LIMITS, STRETCHES, st.sampled_from(PERIODS_S), reals(-4.0, 4.0))
def test_no_path_and_no_braking_takes_a_joint_out_of_its_limits(
    limits: JointLimits,
    stretches: list[tuple[int, float, float, bool]],
    period_s: float,
    start: float,
) -> None:
    path = [start]
    braking = []
    for ticks, speed, jump, brakes in stretches:
        path.extend(path[-1] + jump + speed * period_s * np.arange(1, ticks + 1))
        braking.extend([brakes] * ticks)
    path.extend([path[-1]] * 10)
    limiter = JointLimiter(limits, period_s, start, Counter())
    commands = [limiter.position] * 3
    for tick, brakes in enumerate(braking, start=1):
        commands.append(
            limiter.brake() if brakes else limiter.follow(lambda n, t=tick: float(path[t + n]))
        )
    reach = dataclasses.replace(
        limits, lower=min(limits.lower, start), upper=max(limits.upper, start)
    )
    require_within(np.array(commands), reach, period_s)
    is_inside = (limits.lower <= np.array(commands)) & (np.array(commands) <= limits.upper)
    inside = np.array(commands)[np.argmax(is_inside) :] if is_inside.any() else np.empty(0)
    if len(inside) > 3:
        require_within(inside, limits, period_s)


# The schedule


@st.composite
def chunk_lists(draw: Any) -> list[tuple[Chunk, int]]:
    """Chunks with the instants (ns) at which they come: late, in bursts, out of order."""
    count = draw(st.integers(1, 6))
    now_ms = 0
    offers = []
    for number in range(1, count + 1):
        now_ms += draw(st.integers(0, 400))
        late_ms = draw(st.integers(-20, 500))
        horizon = draw(st.integers(1, 20))
        values = draw(st.lists(reals(-2.0, 2.0), min_size=horizon, max_size=horizon))
        t0_ns = T0_NS + (now_ms - late_ms) * MS_NS
        chunk = Chunk(number, t0_ns, DT_S, {"arm": np.array(values)[:, None]})
        offers.append((chunk, T0_NS + now_ms * MS_NS))
    return offers


SCHEDULES = st.builds(
    ScheduleSettings, blend=st.sampled_from(BlendMode), blend_s=reals(0.0, 0.5), cubic=st.booleans()
)


def play(
    schedule: ChunkSchedule, offers: list[tuple[Chunk, int]], sampled_ns: list[int], tick_ns: int
) -> dict[int, float]:
    """The path at some instants, with the schedule looked at in ticks beside them."""
    last_ns = max([*sampled_ns, *(now_ns for _, now_ns in offers)])
    ticks = range(T0_NS, last_ns, tick_ns)
    events = [(now_ns, 0, chunk) for chunk, now_ns in offers]
    events += [(now_ns, 1, None) for now_ns in {*sampled_ns, *ticks}]
    places = {}
    for now_ns, _, chunk in sorted(events, key=lambda event: event[:2]):
        if chunk is not None:
            with contextlib.suppress(ChunkRefusedError):
                schedule.offer(chunk, now_ns)
            continue
        schedule.advance(now_ns)
        place = schedule.path(now_ns)
        if place is not None and now_ns in sampled_ns:
            places[now_ns] = float(place[0])
    return places


@SETTINGS
@given(SCHEDULES, chunk_lists(), st.lists(st.integers(0, 3000), min_size=1, max_size=20))
def test_the_path_is_a_function_of_time_whatever_the_ticks(
    how: ScheduleSettings, offers: list[tuple[Chunk, int]], sampled_ms: list[int]
) -> None:
    sampled_ns = [T0_NS + ms * MS_NS for ms in sampled_ms]
    layout = ActionLayout({"arm": 1})
    runs = [
        play(ChunkSchedule(layout, how), offers, sampled_ns, tick_ms * MS_NS)
        for tick_ms in (7, 10, 100)
    ]
    assert runs[0] == runs[1] == runs[2]
    assert np.isfinite(list(runs[0].values())).all()


@SETTINGS
@given(chunk_lists(), st.booleans(), reals(0.05, 0.5))
def test_offset_blends_are_continuous(
    offers: list[tuple[Chunk, int]], cubic: bool, blend_s: float
) -> None:
    """Just before and just after a chunk the place is the same."""
    schedule = ChunkSchedule(
        ActionLayout({"arm": 1}), ScheduleSettings(blend_s=blend_s, cubic=cubic)
    )
    for chunk, now_ns in offers:
        schedule.advance(now_ns)
        before = schedule.path(now_ns)
        with contextlib.suppress(ChunkRefusedError):
            schedule.offer(chunk, now_ns)
        after = schedule.path(now_ns)
        if before is not None:
            assert_allclose(after, before, rtol=0.0, atol=1e-12)


@SETTINGS
@given(chunk_lists())
def test_no_step_from_the_future_and_none_from_the_stale_past_is_played(
    offers: list[tuple[Chunk, int]],
) -> None:
    """Each value is its own step's number and chunk, so that the path tells what is played."""
    schedule = ChunkSchedule(ActionLayout({"arm": 2}), ScheduleSettings(BlendMode.REPLACE))
    end_ns = offers[-1][1] + 2_000_000_000
    pending = [
        (Chunk(c.chunk_id, c.t0_ns, DT_S, {"arm": _numbered(c)}), now_ns) for c, now_ns in offers
    ]
    accepted: dict[int, Chunk] = {}
    for now_ns in range(T0_NS, end_ns, 10 * MS_NS):
        while pending and pending[0][1] <= now_ns:
            chunk, _ = pending.pop(0)
            with contextlib.suppress(ChunkRefusedError):
                schedule.offer(chunk, now_ns)
                accepted[chunk.chunk_id] = chunk
        schedule.advance(now_ns)
        place = schedule.path(now_ns)
        if place is None or not schedule.is_playing:
            continue
        step, number = float(place[0]), round(place[1])
        chunk = accepted[number]
        assert number == max(accepted)  # the newest that was welcome, and no other
        due = (now_ns - chunk.t0_ns) * 1e-9 / DT_S
        assert step <= max(due, 0.0) + 1e-6  # not from the future
        assert schedule.progress(now_ns).chunk_id == number
        assert now_ns <= chunk.end_ns + round(3e9)
    assert not schedule.is_playing


def _numbered(chunk: Chunk) -> np.ndarray:
    steps = np.arange(chunk.horizon, dtype=np.float64)
    return np.stack([steps, np.full(chunk.horizon, float(chunk.chunk_id))], axis=1)


# The player


PLAYER_LIMITS = {
    0: JointLimits(-1.5, 1.5, 2.0, 20.0, 400.0),
    1: JointLimits(-0.5, 2.5, 1.0, 8.0, 100.0),
}
PERIOD_S = 0.01


def make_player(
    kind: type[MotionPlayer], blend: BlendMode, max_jump: float, **changes: Any
) -> MotionPlayer:
    return kind(
        ActionLayout({"arm": 2, "hand": 7, "base": 1}, poses=["hand"], velocities=["base"]),
        PlayerSettings(
            period_s=PERIOD_S,
            schedule=ScheduleSettings(blend, cubic=True),
            limits=PLAYER_LIMITS,
            max_jump=max_jump,
            max_joint_ages_s={0: 0.2, 1: 0.2},
            **changes,
        ),
    )


@dataclass
class Run:
    """A player of an arm that may be blocked and pushed about, in ticks of the control period."""

    player: MotionPlayer
    follows: bool
    now_ns: int = T0_NS
    arm: tuple[float, float] = (0.0, 0.0)
    measured: tuple[float, float] = (np.nan, np.nan)
    first_measured: tuple[float, float] = (np.nan, np.nan)
    numbers: int = 0
    commands: list[Command] = field(default_factory=list)
    joints_alive: bool = True

    def tick(self, ticks: int) -> None:
        for _ in range(ticks):
            self.now_ns += round(PERIOD_S * 1e9)
            if self.joints_alive:
                self.measured = self.arm
                self.player.measure(dict(enumerate(self.arm)), self.now_ns)
            command = self.player.tick(self.now_ns)
            if command is None:
                continue
            if not self.commands:
                self.first_measured = self.measured  # a push may be unmeasured
            self.commands.append(command)
            if self.follows:
                self.arm = tuple(command.values["arm"].tolist())

    def chunk(self, seed: int, late_ms: int) -> None:
        self.numbers += 1
        rng = np.random.default_rng(seed)
        horizon = int(rng.integers(1, 25))
        arm = rng.uniform(-2.0, 2.0, 2) + np.cumsum(rng.normal(0, 0.1, (horizon, 2)), axis=0)
        quaternions = rng.normal(size=(horizon, 4))
        quaternions /= np.linalg.norm(quaternions, axis=1, keepdims=True)
        hand = np.hstack([rng.normal(size=(horizon, 3)), quaternions])
        actions = {"arm": arm, "hand": hand, "base": rng.normal(size=(horizon, 1))}
        t0_ns = self.now_ns - late_ms * MS_NS
        with contextlib.suppress(ChunkRefusedError):
            self.player.offer(Chunk(self.numbers, t0_ns, DT_S, actions), self.now_ns)

    def do(self, what: str, value: int) -> None:
        if what == "tick":
            self.tick(value % 60)
        elif what == "chunk":
            self.chunk(value, late_ms=value % 700 - 50)
        elif what == "burst":
            for late_ms in (900, 600, 300, 300, 0):
                self.chunk(value, late_ms)
        elif what == "clock":
            self.now_ns += (value % 7 - 3) * 400 * MS_NS
        elif what == "joints":
            self.joints_alive = bool(value % 2)
        elif what == "allow":
            self.player.inhibit("" if value % 2 else "the enable signal is off")
        elif what == "hold":
            self.player.hold(self.now_ns, "told to stop")
        elif what == "push":
            self.arm = self.arm[0] + (value % 401 - 200) / 100, self.arm[1] - value % 7 / 10
        elif what == "stall":
            self.now_ns += value * MS_NS
        elif what == "limits":
            self.player.change_limits(
                {0: PLAYER_LIMITS[0], 1: PLAYER_LIMITS[1 - value % 2]}
                if value % 3
                else PLAYER_LIMITS,
                self.now_ns,
            )


ACTIONS = st.lists(
    st.tuples(
        st.sampled_from(
            [
                *("tick", "tick", "tick", "chunk", "chunk", "chunk", "burst", "clock", "joints"),
                *("allow", "hold", "push", "stall", "limits"),
            ]
        ),
        st.integers(0, 10_000),
    ),
    min_size=3,
    max_size=25,
)


WIDEST = JointLimits(-np.inf, np.inf, 2.0, 20.0, 400.0)


@settings(SETTINGS, max_examples=100)
@given(
    ACTIONS,
    st.sampled_from(BlendMode),
    st.booleans(),
    st.sampled_from([0.3, np.inf]),
    st.sampled_from(OutOfRange),
    st.sampled_from([0.2, np.inf]),
)
@example(
    [("chunk", 0), ("joints", 0), ("push", 0)],
    BlendMode.REPLACE,
    False,
    np.inf,
    OutOfRange.REFUSE,
    0.2,
)
def test_whatever_happens_in_whatever_order_the_commands_stay_within_the_limits(
    actions: list[tuple[str, int]],
    blend: BlendMode,
    follows: bool,
    max_jump: float,
    out_of_range: OutOfRange,
    max_following_error: float,
) -> None:
    player = make_player(
        MotionPlayer,
        blend,
        max_jump,
        out_of_range=out_of_range,
        max_following_errors=dict.fromkeys(PLAYER_LIMITS, max_following_error),
        observation_age=ObservationAgeLimit(None),
    )
    run = Run(player, follows)
    run.tick(1)
    for what, value in actions:
        run.do(what, value)
    run.tick(5)
    if len(run.commands) < 4:
        return
    vectors = np.array([np.concatenate(list(c.values.values())) for c in run.commands])
    assert np.isfinite(vectors).all()
    assert_allclose(vectors[0, :2], run.first_measured, rtol=0.0, atol=MOVED)
    is_left_alone = not any(what in ("push", "limits") for what, _ in actions)
    for index, limits in PLAYER_LIMITS.items():
        require_within(vectors[:, index], limits if is_left_alone else WIDEST, PERIOD_S)
    assert_allclose(np.linalg.norm(vectors[:, 5:9], axis=1), 1.0, atol=1e-9)
    assert (vectors[[c.holding for c in run.commands], 9] == 0.0).all()


@SETTINGS
@given(ACTIONS, st.sampled_from(BlendMode))
def test_a_player_left_alone_comes_to_rest_and_stays_there(
    actions: list[tuple[str, int]], blend: BlendMode
) -> None:
    run = Run(make_player(MotionPlayer, blend, np.inf), follows=True)
    for what, value in actions:
        run.do(what, value)
    run.tick(1500)
    if not run.commands:
        return
    assert run.commands[-1].at_rest
    assert run.player.reason
    still = [np.concatenate(list(c.values.values())) for c in run.commands[-200:]]
    assert_array_equal(still, [still[0]] * 200)


@SETTINGS
@given(ACTIONS, st.sampled_from(BlendMode))
def test_a_recorded_run_gives_the_same_commands_again_bit_for_bit(
    actions: list[tuple[str, int]], blend: BlendMode
) -> None:
    recorder = make_player(RecordingPlayer, blend, 0.3)
    assert isinstance(recorder, RecordingPlayer)
    run = Run(recorder, follows=True)
    for what, value in actions:
        run.do(what, value)
    again = [c for c in replay(recorder.events, make_player(MotionPlayer, blend, 0.3)) if c]
    assert len(again) == len(run.commands)
    for new, old in zip(again, run.commands, strict=True):
        assert (new.chunk_id, new.holding, new.at_rest) == (old.chunk_id, old.holding, old.at_rest)
        assert_array_equal(new.values["arm"], old.values["arm"])
        assert_array_equal(new.values["hand"], old.values["hand"])
