# SPDX-License-Identifier: Apache-2.0
"""Poses and twists inside their limits, as the differences of their commands tell."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from gr00t_policy_core.control.action_layout import ActionLayout, relative_rotvec
from gr00t_policy_core.control.blend import BlendMode
from gr00t_policy_core.control.body_limiter import PoseLimiter, TwistLimiter, pose_distances
from gr00t_policy_core.control.body_limits import BodyLimits
from gr00t_policy_core.control.chunk import Chunk, ChunkRefusedError
from gr00t_policy_core.control.player import MotionPlayer
from gr00t_policy_core.control.player_settings import PlayerSettings
from gr00t_policy_core.control.schedule_settings import ScheduleSettings
from gr00t_policy_core.rotation import quaternion_from_rotvec

hypothesis = pytest.importorskip("hypothesis", reason="makes up the runs of these tests")
from hypothesis import given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

LIMITS = BodyLimits(0.5, 2.0, 1.0, 6.0)
PERIOD_S, DT_S = 0.01, 0.05
T0_NS = 1_700_000_000_000_000_000


def pose(x_m: float, rotvec: tuple[float, float, float] = (0.0, 0.0, 0.0)) -> np.ndarray:
    quaternion = quaternion_from_rotvec(np.array(rotvec))
    return np.concatenate([[x_m, -x_m, 0.3], quaternion])


def speeds_of(poses: np.ndarray, period_s: float) -> tuple[np.ndarray, np.ndarray]:
    linear = np.diff(poses[:, :3], axis=0) / period_s
    turns = [
        relative_rotvec(to, origin)
        for origin, to in zip(poses[:-1, 3:], poses[1:, 3:], strict=True)
    ]
    return linear, np.array(turns) / period_s


def require_within(
    linear: np.ndarray, angular: np.ndarray, limits: BodyLimits, period_s: float
) -> None:
    for velocity, speed, acceleration in (
        (linear, limits.linear_velocity, limits.linear_acceleration),
        (angular, limits.angular_velocity, limits.angular_acceleration),
    ):
        assert np.isfinite(velocity).all()
        assert np.linalg.norm(velocity, axis=1).max() <= speed * (1 + 1e-6)
        changes = np.linalg.norm(np.diff(velocity, axis=0), axis=1)
        # Differences of positions of 1 m have 2e-16 / period of rounding.
        assert changes.max() <= acceleration * period_s * (1 + 1e-6) + 1e-10 / period_s


def followed(
    path: Callable[[int], np.ndarray], ticks: int, *, brakes: range = range(0)
) -> tuple[np.ndarray, Counter[str]]:
    hits: Counter[str] = Counter()
    limiter = PoseLimiter(LIMITS, PERIOD_S, path(0), hits)
    poses = [path(0)] * 2
    for tick in range(ticks):
        poses.append(
            limiter.brake() if tick in brakes else limiter.follow(lambda n, t=tick: path(t + n))
        )
    return np.array(poses), hits


def test_a_pose_within_the_limits_passes_unchanged() -> None:
    def path(tick: int) -> np.ndarray:
        share = 0.5 - 0.5 * np.cos(0.01 * min(tick, 314))
        return pose(0.1 * share, (0.0, 0.2 * share, 0.0))

    poses, hits = followed(path, 400)
    assert_array_equal(poses[2:], [path(tick) for tick in range(400)])
    assert hits == Counter()


def test_a_step_of_a_pose_is_reached_within_the_limits_and_without_overshoot() -> None:
    there = pose(0.6, (0.0, 0.0, 1.5))
    poses, hits = followed(lambda tick: there if tick > 3 else pose(0.0), 400)
    require_within(*speeds_of(poses, PERIOD_S), LIMITS, PERIOD_S)
    assert_array_equal(poses[-1], there)
    assert poses[:, 0].max() <= 0.6 + 1e-9
    way, angle = np.array([pose_distances(one, pose(0.0)) for one in poses]).T
    assert angle.max() <= 1.5 + 1e-9
    assert way.max() == way[-1]
    assert hits["velocity"] + hits["acceleration"] > 50


def test_a_twist_that_brakes_is_zero_in_the_end_and_not_what_rounding_has_left() -> None:
    rng = np.random.default_rng(1)
    for _ in range(200):
        limiter = TwistLimiter(LIMITS, PERIOD_S, Counter())
        wanted = rng.normal(0.0, 0.2, 6)
        for _ in range(30):
            limiter.follow(lambda ticks, wanted=wanted: wanted)
        while not limiter.is_at_rest:
            last = limiter.brake()
        assert_array_equal(last, np.zeros(6))


def test_a_moving_pose_is_caught_up_with() -> None:
    def path(tick: int) -> np.ndarray:
        jump = 0.2 if tick > 10 else 0.0
        return pose(jump + 0.001 * tick, (0.0, 0.0, 0.004 * tick + jump))

    poses, _ = followed(path, 300)
    require_within(*speeds_of(poses[1:], PERIOD_S), LIMITS, PERIOD_S)
    assert_array_equal(poses[-1], path(299))


def test_a_pose_brakes_to_a_standstill() -> None:
    def path(tick: int) -> np.ndarray:
        return pose(0.00001 * tick * tick if tick < 30 else 0.009 + 0.0006 * (tick - 30))

    poses, _ = followed(path, 200, brakes=range(60, 200))
    require_within(*speeds_of(poses, PERIOD_S), LIMITS, PERIOD_S)
    assert_array_equal(poses[-1], poses[-50])


BODY_LIMITS = st.builds(
    BodyLimits, st.floats(0.1, 2.0), st.floats(0.5, 20.0), st.floats(0.2, 5.0), st.floats(1.0, 40.0)
)


@settings(deadline=None, max_examples=60, derandomize=True)
@given(BODY_LIMITS, st.integers(0, 1000), st.sampled_from([0.002, 0.01, 0.05]))
def test_no_path_and_no_braking_takes_a_body_out_of_its_limits(
    limits: BodyLimits, seed: int, period_s: float
) -> None:
    rng = np.random.default_rng(seed)
    targets, twists = [], []
    for _ in range(6):
        twist = rng.normal(size=6) * 2.0
        start, velocity, spin = rng.normal(size=(3, 3))
        for tick in range(int(rng.integers(1, 40))):
            rotvec = spin * period_s * tick
            targets.append(pose(start[0] + velocity[0] * period_s * tick, tuple(rotvec)))
            twists.append(twist)
    targets += [targets[-1]] * 2
    brakes = rng.random(len(twists)) < 0.1
    hits: Counter[str] = Counter()
    body, base = (
        PoseLimiter(limits, period_s, targets[0], hits),
        TwistLimiter(limits, period_s, hits),
    )
    poses, commands = [targets[0]] * 2, [np.zeros(6)]
    for tick, is_braking in enumerate(brakes):
        if is_braking:
            poses.append(body.brake())
            commands.append(base.brake())
        else:
            poses.append(body.follow(lambda n, t=tick: targets[t + n]))
            commands.append(base.follow(lambda _, t=tick: twists[t]))
    require_within(*speeds_of(np.array(poses), period_s), limits, period_s)
    require_within(np.array(commands)[:, :3], np.array(commands)[:, 3:], limits, period_s)
    assert np.abs(np.linalg.norm(np.array(poses)[:, 3:], axis=1) - 1.0).max() < 1e-9


@pytest.mark.parametrize("value", [0.0, -1.0, np.inf, np.nan])
def test_a_limit_that_is_none_is_refused(value: float) -> None:
    with pytest.raises(ValueError, match="angular_velocity limit must be finite and > 0"):
        BodyLimits(1.0, 1.0, value, 1.0)


# In the player


def player(**settings: object) -> MotionPlayer:
    return MotionPlayer(
        ActionLayout({"hand": 7, "base": 6}, poses=["hand"], velocities=["base"]),
        PlayerSettings(
            period_s=PERIOD_S,
            schedule=ScheduleSettings(BlendMode.OFFSET_FADE, cubic=True),
            bodies={"hand": LIMITS, "base": LIMITS},
            **settings,
        ),
    )


def chunk(
    number: int, t0_ns: int, start_m: float, *, angle: float = 0.0, speed: float = 0.2
) -> Chunk:
    hand = [pose(start_m + speed * DT_S * step, (angle, 0.0, 0.0)) for step in range(20)]
    return Chunk(number, t0_ns, DT_S, {"hand": np.array(hand), "base": np.full((20, 6), speed)})


def run(playing: MotionPlayer, now_ns: int, ticks: int) -> tuple[list[np.ndarray], int]:
    vectors = []
    for _ in range(ticks):
        now_ns += round(PERIOD_S * 1e9)
        command = playing.tick(now_ns)
        assert command is not None
        vectors.append(np.concatenate(list(command.values.values())))
    return vectors, now_ns


def test_blends_ends_and_stops_of_poses_and_twists_stay_within_the_limits() -> None:
    playing = player()
    playing.offer(chunk(1, T0_NS, 0.1), T0_NS)
    vectors, now_ns = run(playing, T0_NS, 60)
    playing.offer(chunk(2, now_ns, 0.35, angle=0.6, speed=-0.25), now_ns)
    more, now_ns = run(playing, now_ns, 40)
    vectors += more
    playing.inhibit("stopped by hand")
    more, now_ns = run(playing, now_ns, 60)
    vectors += more
    assert (more[-1][7:] == 0.0).all()
    playing.inhibit("")
    playing.offer(chunk(3, now_ns, 0.3), now_ns)
    more, _ = run(playing, now_ns, 200)  # to its end, and no other comes
    rows = np.array([vectors[0], *vectors, *more])
    require_within(*speeds_of(rows[:, :7], PERIOD_S), LIMITS, PERIOD_S)
    require_within(rows[1:, 7:10], rows[1:, 10:], LIMITS, PERIOD_S)
    assert rows[-1, 0] == pytest.approx(0.3 + 0.2 * 0.95)
    assert (rows[-1, 7:] == 0.0).all()
    assert playing.tick(now_ns + 10**10).at_rest


@pytest.mark.parametrize(
    ("start_m", "angle", "why"),
    [(0.6, 0.0, r"hand would jump by 0\.707 m"), (0.1, 0.8, r"hand would turn by 0\.800 rad")],
)
def test_a_chunk_too_far_from_the_measured_pose_is_refused(
    start_m: float, angle: float, why: str
) -> None:
    playing = player(max_jump=0.5, max_joint_ages_s={0: 0.5})
    playing.measure(dict(enumerate(pose(0.1))), T0_NS)
    with pytest.raises(ChunkRefusedError, match=why):
        playing.offer(chunk(1, T0_NS, start_m, angle=angle), T0_NS)
    playing.offer(chunk(2, T0_NS, 0.2), T0_NS)
    vectors, now_ns = run(playing, T0_NS, 1)
    assert vectors[0][0] == pytest.approx(0.1, abs=1e-3)  # from where it is
    run(playing, now_ns, 60)
    assert playing.reason.startswith("the position of hand[0] is 0.6")
