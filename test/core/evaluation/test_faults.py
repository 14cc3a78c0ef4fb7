# SPDX-License-Identifier: Apache-2.0
"""Each known mistake is put into a policy, and found by its name, with its size."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from evaluation_rig import (
    ARM,
    HORIZON,
    LENGTH,
    KnowingPolicy,
    Mistake,
    RecordedEpisodes,
    evaluated,
    joint_path,
)

from gr00t_policy_core.evaluation.evaluation import PolicyEvaluation
from gr00t_policy_core.evaluation.faults import find_faults
from gr00t_policy_core.evaluation.finding import REMEDIES, Fault, Finding
from gr00t_policy_core.evaluation.traces import KeyTrace

NOISE = 0.02  # beside a motion of about 0.5


def only_finding(mistake: Mistake) -> Finding:
    findings = evaluated(KnowingPolicy(mistake, NOISE)).findings
    assert len(findings) == 1, findings
    return findings[0]


def of_arm(change: Callable[[np.ndarray], np.ndarray], *joints: int) -> Mistake:
    def mistake(observation, action):
        for joint in joints or range(len(ARM)):
            action["arm"][..., joint] = change(action["arm"][..., joint])
        return action

    return mistake


def shifted(steps: int) -> Mistake:
    """The action of `steps` steps ago."""

    def mistake(observation, action):
        episode, step = observation["state"]["place"][0, -1].astype(int)
        at = np.clip(np.arange(step, step + HORIZON) - steps, 0, LENGTH + HORIZON - 1)
        rows = RecordedEpisodes().actions(episode)
        return {**action, "arm": rows["arm"][at][None]}

    return mistake


@pytest.mark.parametrize("noise", [0.0, NOISE, 0.2])
def test_nothing_is_found_where_nothing_is_wrong(noise: float) -> None:
    assert evaluated(KnowingPolicy(noise=noise)).findings == ()


def test_a_policy_that_predicts_noise_is_not_explained_by_a_mistake() -> None:
    rng = np.random.default_rng(1)

    def anything(observation, action):
        return {key: rng.normal(0, 40.0, rows.shape) for key, rows in action.items()}

    faults = {finding.fault for finding in evaluated(KnowingPolicy(anything)).findings}
    assert faults <= {Fault.FAR_FROM_STATE}


def test_a_flat_key_is_found_at_its_mean() -> None:
    means = [np.mean([joint_path(e, j)[:LENGTH].mean() for e in (0, 4)]) for j in range(len(ARM))]

    def mistake(observation, action):
        return {**action, "arm": np.broadcast_to(means, (1, HORIZON, len(ARM)))}

    finding = evaluated(KnowingPolicy(mistake)).findings[0]
    assert finding.fault is Fault.FLAT
    assert finding.joints == ARM
    assert finding.text.startswith("flat at its mean: pan at ")
    assert finding.before == pytest.approx(1.0, rel=0.01)  # as bad as the mean, by definition


def test_a_flat_joint_elsewhere_is_told_from_one_at_its_mean() -> None:
    finding = evaluated(KnowingPolicy(of_arm(lambda v: 0 * v + 9.0, 1))).findings[0]
    assert (finding.fault, finding.joints) == (Fault.FLAT, ("lift",))
    assert "away from its mean: lift at 9 (recorded" in finding.text


@pytest.mark.parametrize(
    ("steps", "text"), [(1, "1 step late"), (3, "3 steps late"), (-5, "5 steps early")]
)
def test_a_shift_is_measured_in_steps(steps: int, text: str) -> None:
    finding = only_finding(shifted(steps))
    assert (finding.fault, finding.key) == (Fault.SHIFTED, "arm")
    assert finding.text == f"predicted {text}"
    assert finding.after < 0.02 < finding.before or abs(steps) == 1


def test_a_sign_is_found_with_its_joint() -> None:
    finding = only_finding(of_arm(np.negative, 2))
    assert (finding.fault, finding.joints) == (Fault.SIGN, ("elbow",))


@pytest.mark.parametrize(
    ("factor", "text"),
    [
        (180 / math.pi, "57.3 times too large (degrees and rad)"),
        (math.pi / 180, "57.3 times too small (degrees and rad)"),
        (100.0, "100 times too large (percent and parts, or cm and m)"),
        (0.01, "100 times too small (percent and parts, or cm and m)"),
        (-1000.0, "1e+03 times too large (mm and m) and with the opposite sign"),
    ],
)
def test_a_factor_is_found_with_its_size(factor: float, text: str) -> None:
    mistake = of_arm(lambda values: factor * values)
    finding = evaluated(KnowingPolicy(mistake)).findings[0]
    assert (finding.fault, finding.joints) == (Fault.FACTOR, ARM)
    assert finding.text == f"predicted {text}"


def test_relative_actions_read_as_absolute_are_found() -> None:
    def mistake(observation, action):
        return {**action, "arm": action["arm"] - observation["state"]["arm"][:, -1:]}

    finding = only_finding(mistake)
    assert (finding.fault, finding.joints) == (Fault.RELATIVE_AS_ABSOLUTE, ARM)


def test_a_state_that_is_added_twice_is_found() -> None:
    def mistake(observation, action):
        return {**action, "arm": action["arm"] + observation["state"]["arm"][:, -1:]}

    finding = only_finding(mistake)
    assert (finding.fault, finding.joints) == (Fault.STATE_ADDED_TWICE, ARM)


def test_two_joints_with_each_others_actions_are_found() -> None:
    def mistake(observation, action):
        return {**action, "arm": action["arm"][..., [0, 3, 2, 1]]}

    finding = only_finding(mistake)
    assert (finding.fault, finding.joints) == (Fault.SWAPPED_JOINTS, ("lift", "wrist"))


def test_joints_of_two_keys_with_each_others_actions_are_found() -> None:
    def mistake(observation, action):
        arm = action["arm"].copy()
        arm[..., 1] = action["gripper"][..., 0]
        return {"arm": arm, "gripper": action["arm"][..., 1:2]}

    finding = only_finding(mistake)
    assert (finding.fault, finding.joints) == (Fault.SWAPPED_JOINTS, ("lift", "gripper"))
    assert finding.key == "arm, gripper"


def test_a_first_action_far_from_the_state_is_found() -> None:
    finding = only_finding(of_arm(lambda values: values + 0.9, 3))
    assert (finding.fault, finding.joints) == (Fault.FAR_FROM_STATE, ("wrist",))
    assert "wrist by 0.9" in finding.text


def seeing(order: tuple[str, str]) -> Mistake:
    """Takes the step from the pictures: right where the cameras come in this order."""

    def mistake(observation, action):
        episode = int(observation["state"]["place"][0, -1, 0])
        front, side = (int(observation["video"][name][0, -1].max()) for name in order)
        step = min(front if 2 * front == side else LENGTH - 1 - front // 2, LENGTH - 1)
        rows = RecordedEpisodes().actions(episode)
        return {key: values[step : step + HORIZON][None] for key, values in rows.items()}

    return mistake


def test_swapped_cameras_are_found_by_asking_with_the_other_order() -> None:
    def faults(policy: PolicyEvaluation) -> list[Fault]:
        return [finding.fault for finding in policy.findings]

    right = evaluated(KnowingPolicy(seeing(("front", "side")), NOISE))
    assert (right.tried_swaps, faults(right)) == (True, [])
    wrong = evaluated(KnowingPolicy(seeing(("side", "front")), NOISE))
    finding = next(f for f in wrong.findings if f.fault is Fault.SWAPPED_CAMERAS)
    assert finding.key == "front, side"
    assert "better at 7 of 8 steps" in finding.text  # at the first, both show the same


def test_swapped_states_are_found_by_asking_with_the_other_order() -> None:
    """With the same wrong order in its answer, too, it is found as one mistake."""

    def mistake(observation, action):
        # It knows a path by where it begins: joints 0 and 1 in the other order.
        state = observation["state"]["arm"][0, -1][[1, 0, 2, 3]]
        episode = int(observation["state"]["place"][0, -1, 0])
        rows = RecordedEpisodes().read(episode, "state", ["arm"])["arm"]
        step = int(np.argmin(np.sum((rows - state) ** 2, axis=1)))
        return {**action, "arm": RecordedEpisodes().actions(episode)["arm"][step:][:HORIZON][None]}

    findings = evaluated(KnowingPolicy(mistake)).findings
    finding = next(f for f in findings if f.fault is Fault.SWAPPED_STATES)
    assert (finding.key, finding.joints) == ("arm", ("pan", "lift"))


def test_joints_that_do_not_move_are_not_judged() -> None:
    resting = np.full((LENGTH, 1), 0.3)
    trace = KeyTrace(
        key="gripper",
        names=("gripper",),
        predicted=[57.3 * resting],
        recorded=[resting],
        observed=[resting],
        starts=[np.array([0, 50])],
    )
    assert find_faults([trace]) == []
    assert np.isnan(trace.relative_errors).all()


def test_every_fault_has_a_remedy() -> None:
    assert set(REMEDIES) == set(Fault)
