# SPDX-License-Identifier: Apache-2.0
"""A failure while whole trajectories are sent: the brake begins where the controller is by then."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest
from helpers import require_within
from motion_contracts import LAYOUT, contract_of

from gr00t_policy_core.control.chunk import Chunk
from gr00t_policy_core.control.motion_gate import MotionGate
from gr00t_policy_core.control.player import MotionPlayer
from gr00t_policy_core.control.trajectory import Forecast, Trajectory
from gr00t_ros.control.current_motion import CurrentMotion
from gr00t_ros.control.motion_forecasts import MotionForecasts
from gr00t_ros.control.motion_setup import make_player

START_NS, PERIOD_NS, MS = 10**12, 10_000_000, 1_000_000
JOINTS = 3
MODE = {"action__arm__mode": "trajectory", "action__gripper__mode": "trajectory"}


class MovingArm:
    """An arm that moves by one trajectory, and the control node's motion without its threads.

    Attributes:
        sent: What the controller was sent.
        now_ns: The time of the newest tick, ns.
    """

    def __init__(self, mode: Mapping[str, str] = MODE, *, ticks: int = 60) -> None:
        contract = contract_of(max_observation_age_s=60.0, **mode)
        self.motion = CurrentMotion(MotionGate(), lambda: 0, is_shadow=False)
        self.forecasts = MotionForecasts(self.motion, contract.control_rate_hz)
        self.player = self.motion.player = make_player(contract, LAYOUT, {})
        self.sent: list[Trajectory] = []
        self.gripper: list[float] = []  # every command of it
        self.now_ns = START_NS
        self.measure(np.zeros(JOINTS))
        rows = 0.5 * 0.05 * np.arange(40)[:, None]
        actions = {"arm": np.hstack([rows, rows]), "gripper": rows}
        self.player.offer(Chunk(1, self.now_ns, 0.05, actions), self.now_ns)
        for _ in range(ticks):
            self.tick()
            if self.sent:
                self.measure(self.sent[0].row_at(self.now_ns))
        assert len(self.sent) == 1

    def measure(self, positions: np.ndarray) -> None:
        self.player.measure(dict(enumerate(positions.tolist())), self.now_ns)

    def tick(self, *, after_ns: int = PERIOD_NS, forecast_ns: int = 0) -> Forecast | None:
        """Tick, and carry a forecast out that is ready after a while."""
        self.now_ns += after_ns
        self.motion.tick(self.now_ns)
        if self.motion.command is not None:
            self.gripper.append(float(self.motion.command.values["gripper"][0]))
        forecast = self.forecasts.take(self.now_ns)
        if forecast is not None:
            trajectory = forecast.run()
            assert trajectory is not None
            to_send = self.forecasts.finish(forecast, trajectory, self.now_ns + forecast_ns)
            if to_send is not None:
                self.sent.append(to_send)
        return forecast

    def begin_stop(self) -> Forecast:
        """Tell the arm to stop; returns the forecast of its way to rest, which was not run yet."""
        self.player.hold(self.now_ns, "enough")
        self.now_ns += PERIOD_NS
        self.motion.tick(self.now_ns)
        forecast = self.forecasts.take(self.now_ns)
        assert forecast is not None
        return forecast

    def fail(self, what: str) -> None:
        """A failure outside the ticks."""
        try:
            fail()
        except FloatingPointError:
            self.motion.fail(what)

    def require_brake(self, begun_ns: int) -> None:
        """The newest trajectory goes on from the one before without a step, and rests soon."""
        before, brake = self.sent[-2:]
        for instant_ns in range(brake.start_ns, begun_ns + 2 * PERIOD_NS, PERIOD_NS):
            assert np.allclose(brake.row_at(instant_ns), before.row_at(instant_ns), atol=1e-9)
        assert np.abs(brake.velocities()).max() < 0.51
        assert np.abs(brake.rows[-1] - before.row_at(begun_ns)).max() < 0.5 * 0.06


@pytest.fixture
def arm() -> MovingArm:
    return MovingArm()


def fail(*_: object, **__: object) -> None:
    raise FloatingPointError("broken on purpose")


@pytest.mark.parametrize("stall_ms", [0, 35, 300, 304])
def test_a_player_that_fails_after_a_stall_brakes_from_where_the_robot_has_got_to(
    arm: MovingArm, monkeypatch: pytest.MonkeyPatch, stall_ms: int
) -> None:
    monkeypatch.setattr(MotionPlayer, "tick", fail)
    arm.tick(after_ns=PERIOD_NS + stall_ms * MS)
    assert len(arm.sent) == 2
    arm.require_brake(arm.now_ns)
    command, at_ns = arm.motion.command, arm.sent[-1].start_ns
    assert command is not None
    assert abs(at_ns - arm.now_ns) <= PERIOD_NS / 2
    assert np.allclose(command.vector, arm.sent[0].row_at(at_ns))
    assert "broken on purpose" in arm.motion.failure.text


def test_a_stall_between_a_failure_and_its_first_tick_does_not_count_either(
    arm: MovingArm,
) -> None:
    arm.fail("a message could not be sent")
    arm.tick(after_ns=250 * MS)
    arm.require_brake(arm.now_ns)


def test_a_way_to_rest_that_comes_late_is_made_again_from_where_the_robot_is_by_then(
    arm: MovingArm, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(MotionPlayer, "tick", fail)
    assert arm.tick(forecast_ns=150 * MS) is not None
    arm.require_brake(arm.now_ns + 150 * MS)
    assert arm.tick(after_ns=160 * MS) is None
    assert len(arm.sent) == 2
    brake = arm.sent[-1]
    for _ in range(20):
        assert np.allclose(arm.motion.command.vector, brake.row_at(arm.now_ns), atol=1e-9)
        arm.tick()
    assert arm.motion.is_at_rest


def test_a_forecast_from_before_the_failure_is_not_sent_after_it(arm: MovingArm) -> None:
    forecast = arm.begin_stop()
    trajectory = forecast.run()
    assert trajectory is not None
    arm.fail("a message could not be sent")
    assert not arm.forecasts.finish(forecast, trajectory, arm.now_ns)
    arm.tick()
    arm.require_brake(arm.now_ns)


@pytest.mark.parametrize("stall_ms", [0, 400])
def test_braking_that_is_cut_short_goes_on_from_where_the_robot_is(
    arm: MovingArm, stall_ms: int
) -> None:
    now_ns = arm.now_ns + stall_ms * MS
    brake = arm.forecasts.brake_at_once(now_ns)
    assert brake is not None
    arm.sent.append(brake)
    arm.require_brake(now_ns)


def test_a_robot_whose_way_to_rest_is_not_sent_yet_is_not_at_rest(arm: MovingArm) -> None:
    """What waits for rest, such as the end of an activation, must not end the ticks before."""
    forecast = arm.begin_stop()
    for _ in range(30):
        arm.tick()
    assert arm.motion.command.at_rest
    assert not arm.motion.is_at_rest
    trajectory = forecast.run()
    assert trajectory is not None
    at_once = arm.forecasts.finish(forecast, trajectory, arm.now_ns)
    assert at_once is not None
    assert at_once is not trajectory  # it would step
    arm.sent.append(at_once)
    arm.require_brake(arm.now_ns)
    arm.tick()
    assert not arm.motion.is_at_rest
    for _ in range(30):
        arm.tick()
    assert arm.motion.is_at_rest
    assert len(arm.sent) == 2


def test_a_robot_that_fails_is_at_rest_once_its_brake_is_sent(
    arm: MovingArm, monkeypatch: pytest.MonkeyPatch
) -> None:
    take = MotionForecasts.take
    monkeypatch.setattr(MotionPlayer, "tick", fail)
    monkeypatch.setattr(MotionForecasts, "take", lambda *_: None)
    for _ in range(30):
        arm.tick()
    assert arm.motion.command.at_rest
    assert not arm.motion.is_at_rest
    brake = take(arm.forecasts, arm.now_ns)
    assert brake is not None
    arm.forecasts.fail(brake)  # what was tried and failed is not waited for
    assert arm.motion.is_at_rest


def test_a_robot_that_fails_before_it_departs_is_at_rest_once_it_is_told_to_stay(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    arm = MovingArm(ticks=2)
    assert arm.motion.command is None
    assert not arm.motion.is_at_rest
    monkeypatch.setattr(MotionPlayer, "tick", fail)
    arm.fail("a chunk could not be accepted")
    assert not arm.motion.is_at_rest
    arm.tick()
    assert len(arm.sent) == 2
    assert arm.motion.is_at_rest
    way = arm.sent[-1]
    assert np.ptp(way.rows, axis=0).max() < 0.5 * 0.06


def test_no_other_failure_gives_up_the_way_to_rest_of_the_first(arm: MovingArm) -> None:
    before = arm.begin_stop()
    arm.fail("a command cannot be published")
    arm.fail("a command cannot be published")
    arm.forecasts.fail(before)
    arm.tick()
    assert len(arm.sent) == 2
    arm.require_brake(arm.now_ns)


@pytest.mark.parametrize("stall_ms", [10, 60, 250])
@pytest.mark.parametrize("forecast_ms", [0, 150])
def test_what_is_streamed_beside_trajectories_brakes_from_where_it_was_told_to_be(
    monkeypatch: pytest.MonkeyPatch, stall_ms: int, forecast_ms: int
) -> None:
    arm = MovingArm({"action__arm__mode": "trajectory", "action__gripper__topic": "gripper"})
    monkeypatch.setattr(MotionPlayer, "tick", fail)
    arm.tick(after_ns=stall_ms * MS, forecast_ns=forecast_ms * MS)
    for _ in range(40):
        arm.tick()
    assert arm.motion.is_at_rest
    require_within(
        np.array(arm.gripper), period_s=0.01, velocity=3.0, acceleration=25.0, jerk=np.inf
    )
    assert arm.gripper[-1] == arm.gripper[-2]


def test_a_robot_that_was_moved_while_it_was_stopped_is_not_pulled_back_by_a_failure(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    motion = CurrentMotion(MotionGate(), lambda: 0, is_shadow=False)
    player = motion.player = make_player(contract_of(max_observation_age_s=60.0), LAYOUT, {})
    now_ns, measured = START_NS, np.zeros(JOINTS)

    def tick(ticks: int, moved: float = 0.0) -> None:
        nonlocal now_ns, measured
        for _ in range(ticks):
            now_ns += PERIOD_NS
            player.measure(dict(enumerate((measured + moved).tolist())), now_ns)
            motion.tick(now_ns)
            if motion.command is not None and not motion.command.is_withheld:
                measured = motion.command.vector

    tick(1)
    actions = {"arm": np.zeros((40, 2)), "gripper": np.zeros((40, 1))}
    player.offer(Chunk(1, now_ns, 0.05, actions), now_ns)
    tick(50)
    motion._gate.stop("by hand")
    tick(50)
    tick(20, moved=0.1)
    assert motion.command.is_withheld
    monkeypatch.setattr(MotionPlayer, "tick", fail)
    tick(20, moved=0.1)
    assert motion.failure is not None
    assert motion.command.is_withheld
    assert motion.is_at_rest
