# SPDX-License-Identifier: Apache-2.0
"""A seed makes answers reproducible; real-time chunking continues the chunk in execution."""

import json

import numpy as np
import pytest
from models.checkpoints import load
from models.golden import ROOT, features_of, golden_of, largest, policy_of, torch

from gr00t_policy_core import SpecError
from gr00t_policy_core.models import Gr00tPolicy
from gr00t_policy_core.models.common.options import RealTimeChunking

RTC = ROOT / "test" / "data" / "models" / "rtc.npz"
OVERLAP = 6
FROZEN = 2
RATE = 4.0


def test_a_seed_gives_the_same_answer_again(golden, policy):
    observation = golden.observation("one")
    first, again, other = (policy.get_action(observation, {"seed": seed})[0] for seed in (7, 7, 8))
    for key, values in first.items():
        np.testing.assert_array_equal(values, again[key])
        assert largest(values - other[key]) > 0.0


def test_answers_without_a_seed_differ_from_each_other_and_leave_torchs_generator_alone(n1d7):
    policy, observation = policy_of(n1d7.name), n1d7.observation("one")
    torch.manual_seed(0)
    state = torch.random.get_rng_state()
    first, again = (policy.get_action(observation)[0] for _ in range(2))
    assert largest(first["single_arm"] - again["single_arm"]) > 0.0
    assert torch.equal(state, torch.random.get_rng_state())


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"sed": 1}, "'sed' is unknown"),
        ({"seed": -1}, "seed must be an integer"),
        ({"seed": "1"}, "seed must be an integer"),
        ({"seed": True}, "seed must be an integer"),
        ({"num_inference_timesteps": 0}, "num_inference_timesteps must be an integer from 1"),
        ({"num_inference_timesteps": 2.0}, "num_inference_timesteps must be an integer from 1"),
        ({"rtc": 3}, "expected a dict"),
        ({"rtc": {"prefix": {}}}, "expected a dict of .*ramp_rate"),
    ],
)
def test_options_that_are_none_are_named(n1d7, options, named):
    with pytest.raises(SpecError, match=named):
        policy_of(n1d7.name).get_action(n1d7.observation("one"), options)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"frozen_steps": OVERLAP + 1}, "frozen_steps must be .* 0 to the overlap of 6, got 7"),
        ({"frozen_steps": 1.0}, "frozen_steps must be an integer"),
        ({"ramp_rate": -1.0}, "ramp_rate must be a number"),
        ({"ramp_rate": float("nan")}, "ramp_rate must be a number"),
        ({"prefix": [1]}, "prefix must be a dict"),
        ({"single_arm": np.zeros((1, OVERLAP, 4), np.float32)}, r"\(1, overlap, 5\), got shape"),
        ({"single_arm": np.zeros((2, OVERLAP, 5), np.float32)}, r"\(1, overlap, 5\), got shape"),
        ({"single_arm": np.zeros((1, OVERLAP, 5))}, "float32.* got float64"),
        ({"single_arm": np.full((1, OVERLAP, 5), np.nan, np.float32)}, "not finite"),
        ({"single_arm": np.zeros((1, 3, 5), np.float32)}, "same number of steps"),
        ({"single_arm": None}, "prefix.single_arm must be float32"),
    ],
)
def test_real_time_chunking_that_does_not_fit_is_named(n1d7, change, named):
    prefix = {
        "single_arm": np.zeros((1, OVERLAP, 5), np.float32),
        "gripper": np.zeros((1, OVERLAP, 1), np.float32),
    }
    rtc = {"prefix": prefix, "frozen_steps": FROZEN, "ramp_rate": RATE}
    rtc.update({key: value for key, value in change.items() if key in rtc})
    prefix.update({key: value for key, value in change.items() if key in prefix})
    with pytest.raises(SpecError, match=named):
        policy_of(n1d7.name).get_action(n1d7.observation("one"), {"rtc": rtc})


@pytest.mark.parametrize("wrong", ["single_arm", "both"])
def test_a_prefix_that_does_not_fit_is_one_error_and_no_other_follows_from_it(n1d7, wrong):
    prefix = {
        "single_arm": np.zeros((1, OVERLAP, 4), np.float32),
        "gripper": np.zeros((1, OVERLAP, 2 if wrong == "both" else 1), np.float32),
    }
    rtc = {"prefix": prefix, "frozen_steps": FROZEN, "ramp_rate": RATE}
    with pytest.raises(SpecError) as caught:
        policy_of(n1d7.name).get_action(n1d7.observation("one"), {"rtc": rtc})
    assert len(caught.value.problems) == (2 if wrong == "both" else 1)
    assert "frozen_steps" not in str(caught.value)


@pytest.mark.parametrize("number", [np.float32(4.0), np.float64(4.0), np.int64(4), 4])
def test_the_ramp_rate_may_be_a_number_of_numpy(n1d7, number):
    policy, observation = policy_of(n1d7.name), n1d7.observation("one")
    before, _ = policy.get_action(observation, {"seed": 1})
    rtc = {"prefix": before, "frozen_steps": FROZEN, "ramp_rate": 4.0}
    expected, _ = policy.get_action(observation, {"seed": 2, "rtc": rtc})
    action, _ = policy.get_action(observation, {"seed": 2, "rtc": {**rtc, "ramp_rate": number}})
    np.testing.assert_array_equal(action["single_arm"], expected["single_arm"])


def test_a_rotation_of_a_prefix_that_is_none_is_named_with_its_key():
    golden = golden_of("gr00t_n1d7/b")
    policy, observation = policy_of(golden.name), golden.observation("one")
    prefix = {key: values.copy() for key, values in policy.get_action(observation)[0].items()}
    (pose,) = (key.name for key in policy.embodiment.actions if key.relative and key.dim == 9)
    prefix[pose][:, 2, 3:] = 0.0
    rtc = {"prefix": prefix, "frozen_steps": 0, "ramp_rate": 1.0}
    with pytest.raises(SpecError, match=rf"rtc: prefix\.{pose}: .* two rows of a rotation"):
        policy.get_action(observation, {"rtc": rtc})


def test_the_info_says_where_clipping_moved_a_frozen_step_and_by_how_much(n1d7):
    policy, observation = policy_of(n1d7.name), n1d7.observation("one")
    before, _ = policy.get_action(observation, {"seed": 1})
    rtc = {"prefix": before, "frozen_steps": FROZEN, "ramp_rate": RATE}
    _, info = policy.get_action(observation, {"seed": 2, "rtc": rtc})
    assert info["rtc"]["clipped"] == {}

    beyond = {key: values.copy() for key, values in before.items()}
    beyond["gripper"][:, 1] = 5.0
    beyond["single_arm"][:, FROZEN] = 50.0  # is not frozen
    rtc["prefix"] = beyond
    action, info = policy.get_action(observation, {"seed": 2, "rtc": rtc})
    (clipped,) = info["rtc"]["clipped"].values()
    assert list(info["rtc"]["clipped"]) == ["gripper"]
    assert clipped.shape == (1, FROZEN, 1)
    assert clipped.dtype == np.float32
    np.testing.assert_allclose(clipped[:, 0], 0.0, atol=1e-5)
    expected = beyond["gripper"][:, :FROZEN] + clipped
    np.testing.assert_allclose(action["gripper"][:, :FROZEN], expected, atol=1e-5)
    assert clipped[0, 1, 0] < -1.0


class TestDenoisingSteps:
    @pytest.fixture
    def two(self, golden):
        """The policy with two steps instead of four."""
        return policy_of(golden.name, num_inference_timesteps=2)

    def test_of_a_policy_and_of_one_call_are_the_same(self, golden, policy, two):
        observation = golden.observation("one")
        expected, _ = two.get_action(observation, {"seed": 1})
        one_call = {"seed": 1, "num_inference_timesteps": 2}
        action, _ = policy.get_action(observation, one_call)
        usual, _ = policy.get_action(observation, {"seed": 1})
        for key, values in expected.items():
            np.testing.assert_array_equal(action[key], values)
            assert largest(values - usual[key]) > 0.0

    def test_are_euler_steps_of_the_same_length(self, n1d7):
        head = policy_of(n1d7.name).model.head
        assert [len(head.euler_steps(count)) for count in (1, 2, 4, None)] == [1, 2, 4, 4]

    def test_that_are_none_are_named(self, n1d7):
        with pytest.raises(SpecError, match="num_inference_timesteps must be a positive integer"):
            load(n1d7, n1d7.checkpoint, num_inference_timesteps=0)


def test_a_prefix_longer_than_the_chunk_is_named(n1d7):
    action, _ = policy_of(n1d7.name).get_action(n1d7.observation("one"))
    prefix = {key: np.repeat(values, 2, axis=1) for key, values in action.items()}
    rtc = {"prefix": prefix, "frozen_steps": 0, "ramp_rate": 1.0}
    with pytest.raises(SpecError, match="prefix must have 1 to 16 steps, got 32"):
        policy_of(n1d7.name).get_action(n1d7.observation("one"), {"rtc": rtc})


def later(observation):
    """The observation of a moment later: every state has moved a little."""
    moved = {key: values + np.float32(0.02) for key, values in observation["state"].items()}
    return {**observation, "state": moved}


@pytest.fixture
def wide(golden, damaged):
    """The policy of `golden` with bounds that any rotation is within."""
    folder = damaged(golden)
    file = folder / "statistics.json"
    statistics = json.loads(file.read_text(encoding="utf-8"))
    for bounds in statistics[golden.tag]["relative_action"].values():
        shape = np.shape(bounds["min"])
        bounds.update(min=np.full(shape, -1.5).tolist(), max=np.full(shape, 1.5).tolist())
    file.write_text(json.dumps(statistics), encoding="utf-8")
    return Gr00tPolicy(golden.tag, folder, device="cpu", backbone_path=golden.backbone)


@pytest.mark.parametrize("case", ["one", "batch"])
def test_frozen_steps_are_those_of_the_chunk_in_execution_wherever_the_robot_is(golden, wide, case):
    """In physical units: relative actions are measured anew from the new state."""
    observation = golden.observation(case)
    planned = 0.3 * np.clip(golden.arrays[f"{case}/noise"], -2.0, 2.0)
    before = wide.embodiment.decode_action(planned, observation["state"])
    prefix = {key: values[:, 4 : 4 + OVERLAP] for key, values in before.items()}
    now = later(observation)

    rtc = {"prefix": prefix, "frozen_steps": FROZEN, "ramp_rate": RATE}
    action, _ = wide.get_action(now, {"seed": 2, "rtc": rtc})
    free, _ = wide.get_action(now, {"seed": 2})

    for key, values in prefix.items():
        np.testing.assert_allclose(action[key][:, :FROZEN], values[:, :FROZEN], atol=2e-5)
        assert largest(action[key][:, FROZEN:] - free[key][:, FROZEN:]) > 0.0
        assert largest(action[key][:, :FROZEN] - free[key][:, :FROZEN]) > 1e-3


@pytest.mark.parametrize("case", ["one", "batch"])
@pytest.mark.parametrize("name", ["gr00t_n1d7/a", "gr00t_n1d7/b"])
def test_real_time_chunking_is_the_references(name, case):
    """rtc.npz holds what Isaac-GR00T's action head of N1.7 answered to these prefixes.

    8 steps of overlap, 3 frozen, ramp rate 5, seed 5; torch 2.13.0, diffusers 0.35.1, float32, CPU.
    """
    golden, policy = golden_of(name), policy_of(name)
    prefix_name, observation = f"{name}/{case}/prefix/", golden.observation(case)
    with np.load(RTC) as archive:
        wanted = archive[f"{name}/{case}/normalized_action"]
        prefix = {
            key[len(prefix_name) :]: archive[key]
            for key in archive.files
            if key.startswith(prefix_name)
        }
    expected = policy.embodiment.decode_action(wanted, observation["state"])

    rtc = {"prefix": prefix, "frozen_steps": 3, "ramp_rate": 5.0}
    action, _ = policy.get_action(observation, {"seed": 5, "rtc": rtc})

    for key, values in expected.items():
        assert largest(action[key] - values) <= 1e-4 * largest(values), key


def test_steps_after_the_frozen_ones_move_the_more_the_later_they_are():
    rtc = RealTimeChunking({"arm": np.zeros((1, OVERLAP, 1), np.float32)}, FROZEN, RATE)

    scale = rtc.velocity_scale(10)[:, 0].numpy()

    between = OVERLAP - FROZEN
    t = np.arange(1, between + 1) / (between + 1)
    ramp = (1 - np.exp(-RATE * t)) / (1 - np.exp(-RATE))
    np.testing.assert_allclose(scale, [*[0.0] * FROZEN, *ramp, *[1.0] * 4], rtol=1e-6)


@pytest.mark.parametrize("rate", [0.0, 1e-9, 1e-300])
def test_a_ramp_rate_of_about_zero_is_a_straight_ramp(rate):
    rtc = RealTimeChunking({"arm": np.zeros((1, 4, 1), np.float32)}, 0, rate)
    np.testing.assert_allclose(rtc.velocity_scale(4)[:, 0], [0.2, 0.4, 0.6, 0.8], rtol=1e-6)


@pytest.mark.parametrize("frozen", [0, OVERLAP])
def test_all_or_none_of_the_overlap_may_be_frozen(frozen):
    rtc = RealTimeChunking({"arm": np.zeros((1, OVERLAP, 1), np.float32)}, frozen, RATE)
    scale = rtc.velocity_scale(8)[:, 0].numpy()
    assert (scale[:frozen] == 0.0).all()
    assert (np.diff(scale[frozen:]) >= 0.0).all()
    assert (scale[OVERLAP:] == 1.0).all()


def test_the_sampler_follows_the_scaled_velocity(n1d7):
    """StorageTracker against Euler's method written out, with the head's own velocity."""
    policy = policy_of(n1d7.name)
    head = policy.model.head
    observation = n1d7.observation("one")
    start = torch.from_numpy(n1d7.arrays["one/noise"])
    scale = torch.linspace(0, 1, start.shape[1])[:, None]
    with torch.inference_mode():
        state = torch.from_numpy(n1d7.arrays["one/model_state"])
        conditioning = head.condition(*features_of(policy, observation), state)
        expected = start
        for step in head.euler_steps():
            expected = expected + 0.25 * scale * head.velocity(expected, conditioning, step)
        sampled = head.sample(conditioning, start, scale)
    assert len(head.euler_steps()) == 4
    torch.testing.assert_close(sampled, expected, atol=1e-5, rtol=1e-5)


def test_golden_b_has_an_end_effector_to_re_anchor():
    embodiment = policy_of(golden_of("gr00t_n1d7/b").name).embodiment
    assert any(key.relative is not None and key.dim == 9 for key in embodiment.actions)
