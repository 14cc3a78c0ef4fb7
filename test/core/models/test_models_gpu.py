# SPDX-License-Identifier: Apache-2.0
"""On a GPU: the same numbers in every way of running, and no waiting. Skipped where there is none.

$GR00T_TEST_DEVICE names another device to try them on.
"""

import contextlib
import os
import threading

import numpy as np
import pytest
from models.golden import CASES, assert_golden, largest, policy_of, rows_of, sent_images, torch

from gr00t_policy_core.models.common.execution_settings import ExecutionSettings
from gr00t_policy_core.models.common.float8 import Float8Linear
from gr00t_policy_core.models.common.fused_linear import linear_gelu
from gr00t_policy_core.models.common.options import read_options
from gr00t_policy_core.models.common.stopwatch import Stopwatch
from gr00t_policy_core.models.model_policy import ModelPolicy

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
WITHOUT = {"cuda_graphs": False, "device_images": False}


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
    policy = policy_of(golden.name, device=DEVICE, dtype="float32", **{**WITHOUT, **way})
    for case in ("one",) if "mask_padding" in way else CASES:
        assert_golden(golden, case, policy)  # at once, before it is captured
        policy.prepare(golden.observation(case))
        info = assert_golden(golden, case, policy)
        assert all(seconds >= 0.0 for seconds in info["timing"].values())


def test_bfloat16_with_graphs_is_as_without(golden):
    if DEVICE == "cpu":
        pytest.skip("CUDA graphs need CUDA")
    plain = answer(policy_of(golden.name, device=DEVICE, **WITHOUT), golden, "batch")
    policy = policy_of(golden.name, device=DEVICE)
    assert policy.active_settings()["cuda_graphs"], "graphs are the default"
    assert policy.active_settings()["device_images"]
    policy.prepare(golden.observation("batch"))
    replayed = answer(policy, golden, "batch")
    for key, values in plain.items():
        assert largest(replayed[key] - values) <= 0.05 * largest(values), key


@pytest.mark.parametrize("cuda_graphs", [False, True])
def test_compiled_actions_are_the_references(n1d7, cuda_graphs):
    if cuda_graphs and DEVICE == "cpu":
        pytest.skip("CUDA graphs need CUDA")
    torch.compiler.reset()
    way = {"compile": "default", "cuda_graphs": cuda_graphs, "device_images": cuda_graphs}
    policy = policy_of(n1d7.name, device=DEVICE, dtype="float32", **way)
    policy.prepare(n1d7.observation("one"))
    for _ in range(2):
        assert_golden(n1d7, "one", policy)


def test_a_layer_in_float8_is_on_a_gpu_what_it_is_on_a_cpu():
    torch.manual_seed(0)
    layer = torch.nn.Linear(1024, 512).requires_grad_(False).to(torch.bfloat16)
    x = torch.randn(3, 41, 1024).to(torch.bfloat16)
    with torch.inference_mode():
        expected = Float8Linear(layer)(x).float()
        got = Float8Linear(layer.to(DEVICE))(x.to(DEVICE)).float().cpu()
    assert (got - expected).norm() <= 0.01 * expected.norm()


@pytest.mark.parametrize("cuda_graphs", [False, True])
def test_float8_is_as_near_as_float8_allows(golden, cuda_graphs):
    if cuda_graphs and DEVICE == "cpu":
        pytest.skip("CUDA graphs need CUDA")
    policy = policy_of(golden.name, device=DEVICE, dtype="fp8", cuda_graphs=cuda_graphs)
    policy.prepare(golden.observation("one"))
    for key, values in golden.group("one", "action").items():
        error = largest(answer(policy, golden, "one")[key] - values)
        assert error <= 0.1 * largest(values), key


def test_gelu_in_the_product_is_the_tanh_approximation():
    torch.manual_seed(0)
    layer = torch.nn.Linear(256, 512).requires_grad_(False)
    x = 3.0 * torch.randn(2, 41, 256)
    expected = linear_gelu(layer, x)
    got = linear_gelu(layer.to(DEVICE), x.to(DEVICE)).cpu()
    assert largest(got - expected) <= 1e-4, "the exact GELU is 5e-4 away"


def test_images_resized_on_the_device_are_those_of_the_host_bit_by_bit(golden):
    on_device = policy_of(golden.name, device=DEVICE, device_images=True)
    host = policy_of(golden.name, device=DEVICE, device_images=False)
    rng = np.random.default_rng(0)
    for size in ((480, 640), (720, 1280), (512, 512), (100, 90), (1080, 1920)):
        observation = golden.observation("one")
        for key, video in observation["video"].items():
            shape = (*video.shape[:2], *size, 3)
            observation["video"][key] = rng.integers(0, 256, shape, dtype=np.uint8)
        expected = sent_images(host, observation).cpu().numpy()
        np.testing.assert_array_equal(sent_images(on_device, observation).cpu().numpy(), expected)


def test_the_host_does_not_wait_from_images_to_actions(golden):
    if DEVICE == "cpu":
        pytest.skip("only a GPU is waited for")
    policy = policy_of(golden.name, device=DEVICE)
    observation = golden.observation("batch")
    policy.prepare(observation)
    with torch.inference_mode():
        policy.get_action(observation)  # makes what is made once
        options = read_options(
            None, policy.embodiment, len(policy.preprocessor.instructions(observation))
        )
        with no_waiting():
            vision = policy.preprocessor.vision_inputs(observation, Stopwatch(policy.device))
            features = policy.runner.features(vision.videos, vision.tokens)
            given = policy.preprocessor.denoising_inputs(observation, options, vision)
            policy.runner.actions(
                features, vision.tokens, given.state, given.noise, given.velocity_scale
            )


def test_answers_stay_right_while_graphs_are_captured_beside_them(golden):
    """Two threads ask in batches of many sizes, most of which are captured meanwhile."""
    if DEVICE == "cpu":
        pytest.skip("CUDA graphs need CUDA")
    loaded = policy_of(golden.name, device=DEVICE, dtype="float32")
    settings = ExecutionSettings(mask_padding=True)
    policy = ModelPolicy(loaded.model, loaded.device, loaded.dtype, settings)
    whole = golden.observation("batch")
    cases = [rows_of(whole, slice(0, rows)) for rows in (1, 2, 3)]
    wide = {key: np.concatenate([video, video], axis=3) for key, video in whole["video"].items()}
    for rows, case in enumerate(list(cases), start=1):
        cases.append({**case, "video": {key: video[:rows] for key, video in wide.items()}})
    plain = ModelPolicy(
        loaded.model, loaded.device, loaded.dtype, ExecutionSettings(mask_padding=True, **WITHOUT)
    )
    expected = [plain.get_action(case, {"seed": 1})[0] for case in cases]
    wrong = []

    def ask(first):
        for number in range(60):
            case = (number + first) % len(cases)
            action, _ = policy.get_action(cases[case], {"seed": 1})
            for key, values in expected[case].items():
                error = largest(action[key] - values)
                if error > 2e-3 * largest(values):
                    wrong.append((number, case, key, error))

    threads = [threading.Thread(target=ask, args=(first,)) for first in (0, 3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(300)
        assert not thread.is_alive()
    assert policy.runner.queue.wait_until_empty(60)
    ask(0)
    assert wrong == []
    assert policy.active_settings()["cuda_graphs"], "no capture failed"
