# SPDX-License-Identifier: Apache-2.0
"""Every stage of every golden checkpoint, held against what the reference computed there."""

import numpy as np
import pytest
from models.golden import CASES, features_of, largest, policy_of, torch

from gr00t_policy_core.models.common.preprocessor import initial_noise

pytestmark = pytest.mark.parametrize("case", CASES)


def test_tokens_are_the_references(golden, policy, case):
    observation = golden.observation(case)
    grid = policy.preprocessor.image_grid(observation)
    prompts = policy.model.backbone.prompts(policy.preprocessor.instructions(observation), grid)
    np.testing.assert_array_equal(prompts.ids, golden.arrays[f"{case}/input_ids"])
    lengths = prompts.mask.sum(axis=1)
    assert case == "one" or len(set(lengths)) > 1, "the batch has prompts of one length only"
    columns = np.arange(prompts.ids.shape[1])
    assert (prompts.mask == (columns >= len(columns) - lengths[:, None])).all()


def test_pixels_are_the_references(golden, policy, case):
    backbone = policy.model.backbone
    pixels = backbone.pixels(backbone.images(policy.preprocessor.frames(golden.observation(case))))
    expected = golden.arrays[f"{case}/pixel_values"]
    assert largest(pixels.numpy().reshape(expected.shape) - expected) <= 1e-5


def test_states_are_the_references(golden, policy, case):
    state = golden.group(case, "state")
    encoded = policy.embodiment.encode_state(state, policy.model.head.config.max_state_dim)
    expected = golden.arrays[f"{case}/model_state"]
    assert encoded.shape == expected.shape
    assert largest(encoded - expected) <= 1e-6


def test_features_and_actions_of_the_head_are_the_references(golden, policy, case):
    expected, observation = golden.arrays, golden.observation(case)
    state = torch.from_numpy(expected[f"{case}/model_state"])
    head = policy.model.head
    with torch.inference_mode():
        features, tokens = features_of(policy, observation)
        conditioning = head.condition(features, tokens, state)
        normalized = head.sample(conditioning, torch.from_numpy(expected[f"{case}/noise"]))

    difference = conditioning.features.numpy() - expected[f"{case}/vl_features"]
    assert largest(difference[expected[f"{case}/input_ids"] != golden.pad_id]) <= 1e-4
    wanted = expected[f"{case}/normalized_action"]
    assert largest(normalized.numpy() - wanted) <= 1e-4 * largest(wanted)


def test_noise_of_a_seed_is_the_references(golden, case):
    expected = golden.arrays[f"{case}/noise"]
    np.testing.assert_array_equal(initial_noise(golden.seed, expected.shape).numpy(), expected)


def test_actions_are_the_references(golden, policy, case):
    action, info = policy.get_action(golden.observation(case), {"seed": golden.seed})

    expected = golden.group(case, "action")
    assert action.keys() == expected.keys()
    for key, values in expected.items():
        assert action[key].dtype == np.float32
        assert action[key].shape == values.shape
        assert largest(action[key] - values) <= 1e-4 * largest(values), key
    timing = info["timing"]
    assert {"images", "prompts", "state", "backbone", "head", "decode"} < set(timing)
    assert all(seconds >= 0.0 for seconds in timing.values())
    stages = sum(seconds for stage, seconds in timing.items() if stage != "total")
    assert stages <= timing["total"]


def test_bfloat16_is_as_near_as_bfloat16_allows(golden, case):
    policy = policy_of(golden.name, dtype="bfloat16")
    action, _ = policy.get_action(golden.observation(case), {"seed": golden.seed})
    for key, values in golden.group(case, "action").items():
        # 8 bits of mantissa through some 20 layers and 4 steps.
        assert largest(action[key] - values) <= 0.05 * largest(values), key
