# SPDX-License-Identifier: Apache-2.0
"""On a GPU: the same numbers in every way of running, and no waiting. Skipped where there is none.

$GR00T_TEST_DEVICE names another device to try them on.
"""

import contextlib
import os

import numpy as np
import pytest
from models.golden import CASES, assert_golden, largest, policy_of, torch

DEVICE = os.environ.get("GR00T_TEST_DEVICE", "cuda")

pytestmark = pytest.mark.skipif(
    DEVICE == "cuda" and not torch.cuda.is_available(), reason="there is no GPU"
)
WAYS = [
    {},
    {"device_images": True},
    {"cuda_graphs": True},
    {"cuda_graphs": True, "device_images": True, "mask_padding": True},
]


@contextlib.contextmanager
def no_waiting():
    """Makes each wait of the host for the GPU an error."""
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")


def answer(policy, golden, case):
    return policy.get_action(golden.observation(case), {"seed": golden.seed})[0]


@pytest.mark.parametrize("way", WAYS, ids=lambda way: "-".join(way) or "eager")
def test_actions_are_the_references(golden, way):
    if way.get("cuda_graphs") and DEVICE == "cpu":
        pytest.skip("CUDA graphs need CUDA")
    policy = policy_of(golden.name, device=DEVICE, dtype="float32", **way)
    for case in ("one",) if "mask_padding" in way else CASES:
        assert_golden(golden, case, policy)
        info = assert_golden(golden, case, policy)
        assert all(seconds >= 0.0 for seconds in info["timing"].values())


def test_bfloat16_with_graphs_is_as_without(golden):
    if DEVICE == "cpu":
        pytest.skip("CUDA graphs need CUDA")
    plain = answer(policy_of(golden.name, device=DEVICE), golden, "batch")
    replayed = answer(policy_of(golden.name, device=DEVICE, cuda_graphs=True), golden, "batch")
    for key, values in plain.items():
        assert largest(replayed[key] - values) <= 0.05 * largest(values), key


@pytest.mark.parametrize("cuda_graphs", [False, True])
def test_compiled_actions_are_the_references(n1d7, cuda_graphs):
    if cuda_graphs and DEVICE == "cpu":
        pytest.skip("CUDA graphs need CUDA")
    torch.compiler.reset()
    way = {"compile": "default", "cuda_graphs": cuda_graphs}
    policy = policy_of(n1d7.name, device=DEVICE, dtype="float32", **way)
    for _ in range(2):
        assert_golden(n1d7, "one", policy)


def test_pictures_resized_on_the_device_are_those_of_the_host_bit_by_bit(golden):
    on_device = policy_of(golden.name, device=DEVICE, device_images=True)
    host = policy_of(golden.name, device=DEVICE)
    rng = np.random.default_rng(0)
    for size in ((480, 640), (720, 1280), (512, 512), (100, 90), (1080, 1920)):
        observation = golden.observation("one")
        for key, video in observation["video"].items():
            shape = (*video.shape[:2], *size, 3)
            observation["video"][key] = rng.integers(0, 256, shape, dtype=np.uint8)
        expected = host._pictures(observation).cpu().numpy()
        np.testing.assert_array_equal(on_device._pictures(observation).cpu().numpy(), expected)


def test_the_host_does_not_wait_from_pictures_to_actions(golden):
    if DEVICE == "cpu":
        pytest.skip("only a GPU is waited for")
    policy = policy_of(golden.name, device=DEVICE)
    answer(policy, golden, "batch")  # what is made once is there
    config = policy.model.head.config
    observation = golden.observation("batch")
    frames = policy.frames(observation)
    with torch.inference_mode():
        pictures = policy._pictures(observation)
        start = torch.zeros(len(frames), config.action_horizon, config.max_action_dim)
        steps = len(policy.embodiment.modalities["state"].delta_indices)
        state = torch.zeros(len(frames), steps, config.max_state_dim)
        with no_waiting():
            grid = policy.picture_grid(observation)
            tokens = policy.runner.tokens(policy.instructions(observation), grid)
            features = policy.runner.features(pictures, tokens)
            policy.runner.actions(
                features, tokens, policy._to_device(state), policy._to_device(start), None
            )
