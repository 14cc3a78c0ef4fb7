# SPDX-License-Identifier: Apache-2.0
"""The recorded actions at the times of chunks, which lie between the steps of the grid."""

from __future__ import annotations

import pytest
from demonstration_bags import JOINTS, START_NS, command, joints, position, trajectory
from numpy.testing import assert_allclose
from policies_for_tests import parameters

from gr00t_ros.contract.contract import Contract, parse_contract
from gr00t_ros.convert.robot import with_full_names
from gr00t_ros.evaluate.asked_policy import KeptObservations
from gr00t_ros.evaluate.recorded_actions import RecordedActions
from gr00t_ros.policy.observation_builder import NotReadyError
from gr00t_ros.policy.stream_buffers import StreamBuffers


@pytest.fixture
def contract() -> Contract:
    return with_full_names(parse_contract(parameters()))


def at(time_s: float) -> int:
    return START_NS + round(time_s * 1e9)


def commanded(recorded: RecordedActions, times_s: list[float]) -> None:
    for time_s in times_s:
        recorded.receive("/commands", trajectory(time_s), at(time_s))


def test_a_command_is_in_force_until_the_next_one_also_between_steps(contract: Contract) -> None:
    recorded = RecordedActions(None, contract, StreamBuffers(contract))
    commanded(recorded, [0.0, 0.1])
    recorded.at(at(0.05))
    recorded.want([at(0.06), at(0.11), at(0.30)])
    assert recorded.known == {}
    commanded(recorded, [0.2])
    recorded.at(at(0.2))
    assert set(recorded.known) == {at(0.06), at(0.11)}
    assert_allclose(recorded.known[at(0.06)]["arm"], [command(0.0, j) for j in (0, 1)], atol=1e-6)
    assert_allclose(recorded.known[at(0.11)]["arm"], [command(0.1, j) for j in (0, 1)], atol=1e-6)


def test_a_wanted_time_of_the_present_step_is_known_at_once(contract: Contract) -> None:
    recorded = RecordedActions(None, contract, StreamBuffers(contract))
    commanded(recorded, [0.0, 0.1])
    recorded.at(at(0.1))
    recorded.want([at(0.1)])
    assert_allclose(recorded.known[at(0.1)]["gripper"], [command(0.1, 2)], atol=1e-6)


def test_the_grid_is_the_one_of_a_conversion_whatever_is_wanted(contract: Contract) -> None:
    recorded = RecordedActions(None, contract, StreamBuffers(contract))
    with pytest.raises(NotReadyError, match="no command on /commands yet"):
        recorded.at(at(0.0))
    commanded(recorded, [0.0, 0.1, 0.2])
    recorded.want([at(0.05)])
    assert_allclose(recorded.at(at(0.2))["arm"], [command(0.2, j) for j in (0, 1)], atol=1e-6)


def test_the_measured_state_is_read_at_the_wanted_time(contract: Contract) -> None:
    received = StreamBuffers(contract)
    recorded = RecordedActions(1, contract, received)
    for time_s in (0.0, 0.02, 0.04):
        for stream in contract.state_streams:
            message = joints(time_s)
            received.receive(stream, message, now_ns=at(time_s), received_ns=at(time_s))
    recorded.at(at(0.04))
    recorded.want([at(0.019)])
    measured = [position(0.02, joint) for joint in range(len(JOINTS))]
    assert_allclose(recorded.known[at(0.019)]["arm"], measured[:2], atol=1e-6)


def test_nothing_is_known_after_the_clock_was_set(contract: Contract) -> None:
    recorded = RecordedActions(None, contract, StreamBuffers(contract))
    commanded(recorded, [0.0])
    recorded.at(at(0.0))
    recorded.want([at(0.0), at(1.0)])
    recorded.clear()
    assert recorded.known == {}
    with pytest.raises(NotReadyError):
        recorded.at(at(0.0))


@pytest.mark.parametrize("count", [1, 3, 8])
@pytest.mark.parametrize("offered", [1, 8, 100, 1000])
def test_observations_are_kept_from_all_parts(count: int, offered: int) -> None:
    kept = KeptObservations(count)
    for number in range(offered):
        assert kept.offer({"state": number}) == number
    numbers = list(kept.by_number)
    assert min(count, offered) <= len(numbers) <= 2 * count + 1
    assert numbers[0] == 0
    assert numbers[-1] >= offered * (1.0 - 1.0 / count) - 1 if count > 1 else True
    assert all(kept.by_number[number] == {"state": number} for number in numbers)
