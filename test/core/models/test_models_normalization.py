# SPDX-License-Identifier: Apache-2.0
"""Physical units to the network's and back, by hand-made numbers."""

import numpy as np
import pytest
from models.golden import largest  # skips where torch is missing

from gr00t_policy_core import ActionConfig, ActionFormat, ActionRepresentation, ActionType
from gr00t_policy_core.errors import PolicyError, SpecError
from gr00t_policy_core.models.common.normalization import KeyStatistics, MeanStd, MinMax, SinCos
from gr00t_policy_core.models.common.relative import format_problem, to_absolute, to_relative


def array(*values):
    return np.array(values, dtype=np.float64)


class TestMinMax:
    bounds = MinMax(array(-1.0, 2.0, 5.0), array(3.0, 4.0, 5.0), clip=True)

    def test_maps_the_bounds_to_minus_one_and_one_and_a_constant_to_zero(self):
        given = array([-1.0, 4.0, 7.0], [1.0, 3.0, 5.0])
        np.testing.assert_allclose(self.bounds.normalize(given), [[-1, 1, 0], [0, 0, 0]])

    def test_goes_back(self):
        given = array([0.5, 2.25, 5.0])
        np.testing.assert_allclose(self.bounds.unnormalize(self.bounds.normalize(given)), given)

    def test_clips_states_only_where_it_is_asked_to_and_actions_always(self):
        free = MinMax(self.bounds.low, self.bounds.high, clip=False)
        given = array(7.0, 5.0, 5.0)
        np.testing.assert_allclose(self.bounds.normalize(given), [1, 1, 0])
        np.testing.assert_allclose(free.normalize(given), [3, 2, 0])
        np.testing.assert_allclose(free.unnormalize(array(9.0, -9.0, 0.5)), [3, 2, 5])

    def test_bounds_by_step_serve_the_first_steps_of_a_chunk(self):
        by_step = MinMax(array([0.0], [0.0], [0.0]), array([1.0], [2.0], [4.0]), clip=True)
        given = array([[0.5], [0.5]])
        np.testing.assert_allclose(by_step.normalize(given), [[[0.0], [-0.5]]])
        np.testing.assert_allclose(
            by_step.unnormalize(array([[0.0], [0.0], [0.0]])), [[[0.5], [1], [2]]]
        )


class TestMeanStd:
    def test_leaves_a_dimension_without_deviation_as_it_is(self):
        moments = MeanStd(array(1.0, 7.0), array(2.0, 0.0))
        given = array(5.0, 3.0)
        np.testing.assert_allclose(moments.normalize(given), [2, 3])
        np.testing.assert_allclose(moments.unnormalize(moments.normalize(given)), given)

    def test_clips_where_it_is_asked_to(self):
        assert MeanStd(array(0.0), array(1.0), clip=True).normalize(array(4.0)) == 1.0


def test_sines_come_before_cosines():
    np.testing.assert_allclose(
        SinCos().normalize(array([0.0, np.pi / 2])), [[0, 1, 1, 0]], atol=1e-12
    )


def test_statistics_of_the_wrong_shape_are_named():
    with pytest.raises(SpecError, match=r"arm\.state\.x\.min must have 1 or 2 dimensions"):
        KeyStatistics("arm.state.x", {"min": 3.0})["min"]
    with pytest.raises(SpecError, match=r"arm\.state\.x\.min"):
        KeyStatistics("arm.state.x", {"min": [1, "a"]})["min"]


def test_bounds_that_would_turn_a_motion_round_are_named():
    values = {"min": [0.0, 2.0], "max": [1.0, 1.0], "mean": [0.0, 0.0], "std": [1.0, -1.0]}
    statistics = KeyStatistics("arm.state.x", values)
    with pytest.raises(SpecError, match=r"arm\.state\.x: min is above max"):
        statistics.min_max(percentiles=False, clip=True)
    with pytest.raises(SpecError, match=r"arm\.state\.x\.std has values below 0"):
        statistics.mean_std(clip=True)


def test_a_constant_whose_percentiles_were_rounded_stays_one():
    values = {"min": [0.3], "q01": [0.1 + 0.2], "q99": [0.3]}  # the first is the larger one
    bounds = KeyStatistics("arm.state.x", values).min_max(percentiles=True, clip=True)
    assert bounds.normalize(array([0.3])) == 0.0


def relative(action_type: ActionType, action_format: ActionFormat) -> ActionConfig:
    return ActionConfig(ActionRepresentation.RELATIVE, action_type, action_format)


JOINTS = relative(ActionType.NON_EEF, ActionFormat.DEFAULT)
ROT6D = relative(ActionType.EEF, ActionFormat.XYZ_ROT6D)
ROTVEC = relative(ActionType.EEF, ActionFormat.XYZ_ROTVEC)
QUARTER = np.pi / 2


class TestRelativeActions:
    def test_of_joints_are_added(self):
        action = to_absolute(array([[1.0, 2.0]]), array([10.0, 20.0]), JOINTS)
        np.testing.assert_allclose(action, [[[11.0, 22.0]]])

    def test_of_a_pose_are_in_the_frame_of_the_state(self):
        """A quarter turn about z: forward is along y; another quarter turn makes half a one."""
        state = array([1.0, 0.0, 0.0, 0.0, 0.0, QUARTER])
        action = to_absolute(array([[2.0, 0.0, 0.0, 0.0, 0.0, QUARTER]]), state, ROTVEC)
        np.testing.assert_allclose(action[0, 0, :3], [1.0, 2.0, 0.0], atol=1e-9)
        np.testing.assert_allclose(np.abs(action[0, 0, 3:]), [0, 0, np.pi], atol=1e-6)

    def test_of_a_pose_in_rows_are_in_the_frame_of_the_state(self):
        state = array([1.0, 0.0, 0.0, *[0.0, -1.0, 0.0], *[1.0, 0.0, 0.0]])
        action = to_absolute(array([[2.0, 0, 0, 1.0, 0, 0, 0, 1.0, 0]]), state, ROT6D)
        np.testing.assert_allclose(action[0, 0], [1, 2, 0, 0, -1, 0, 1, 0, 0], atol=1e-12)

    @pytest.mark.parametrize(("config", "dim"), [(JOINTS, 7), (ROTVEC, 6), (ROT6D, 9)])
    def test_go_there_and_back(self, config, dim):
        rng = np.random.default_rng(0)
        values, state = rng.uniform(-0.9, 0.9, (4, 5, dim)), rng.uniform(-0.9, 0.9, (4, dim))
        absolute = to_absolute(values, state, config)
        again = to_absolute(to_relative(absolute, state, config), state, config)
        assert absolute.shape == values.shape
        assert largest(absolute - again) < 1e-9

    def test_of_a_rotation_that_is_none_are_an_error(self):
        with pytest.raises(PolicyError, match="invalid rotation"):
            to_absolute(np.zeros((1, 1, 9)), np.zeros((1, 9)), ROT6D)

    @pytest.mark.parametrize(
        ("config", "dim", "problem"),
        [
            (JOINTS, 7, None),
            (ROT6D, 9, None),
            (ROT6D, 8, "XYZ_ROT6D has 9 values, its statistics have 8"),
            (ROTVEC, 9, "XYZ_ROTVEC has 6 values, its statistics have 9"),
            (relative(ActionType.EEF, ActionFormat.DEFAULT), 7, "got DEFAULT"),
            (relative(ActionType.NON_EEF, ActionFormat.XYZ_ROT6D), 9, "got NON_EEF"),
        ],
    )
    def test_of_a_kind_that_cannot_be_converted_are_named(self, config, dim, problem):
        found = format_problem(config, dim)
        assert (found is None) if problem is None else (problem in found)
