# SPDX-License-Identifier: Apache-2.0
"""Layers in float8: which they are, and what that costs in accuracy."""

from functools import lru_cache

import pytest
from models.golden import CASES, golden_of, largest, policy_of, torch

from gr00t_policy_core import SpecError
from gr00t_policy_core.models.common.devices import find_dtype
from gr00t_policy_core.models.common.float8 import Float8Linear, check_device, to_float8
from gr00t_policy_core.models.common.fused_linear import FusedLinear

SEEDS = (1, 2)


@lru_cache
def answers(name, dtype):
    """The actions of each case and seed, one after another."""
    golden, policy = golden_of(name), policy_of(name, dtype=dtype)
    return [
        policy.get_action(golden.observation(case), {"seed": seed})[0]
        for case in CASES
        for seed in SEEDS
    ]


def error_of(name, dtype):
    """The largest error against float32, relative to the largest value of each key."""
    return max(
        largest(action[key] - exact[key]) / largest(exact[key])
        for action, exact in zip(answers(name, dtype), answers(name, "float32"), strict=True)
        for key in exact
    )


def test_the_error_of_the_actions_is_at_most_twice_that_of_bfloat16(golden):
    policy = policy_of(golden.name, dtype="fp8")
    assert policy.float8_layers > 0
    assert policy.active_settings()["float8_layers"] == policy.float8_layers
    assert 0.0 < error_of(golden.name, "fp8") <= 2.0 * error_of(golden.name, "bfloat16")


def test_a_layer_in_float8_is_near_the_layer():
    torch.manual_seed(0)
    layer = FusedLinear(64, {"a": 32, "b": 16}).requires_grad_(False).to(torch.bfloat16)
    x = torch.randn(2, 5, 64).to(torch.bfloat16)
    x[0, 0] = 0.0
    exact, coarse = layer(x), Float8Linear(layer)(x)
    assert coarse.dtype == torch.bfloat16
    assert coarse.shape == exact.shape
    assert (coarse - exact).norm() <= 0.06 * exact.norm()
    assert torch.equal(coarse[0, 0], layer.bias), "a token of zeros"
    assert [part.shape[-1] for part in Float8Linear(layer).split_outputs(x)] == [32, 16]


def test_each_row_has_a_scale_of_its_own():
    values = torch.tensor([[1.0, -448.0], [2.0**-20, 0.0], [1e30, 1e30]])
    rounded, scale = to_float8(values)
    assert rounded.dtype == torch.float8_e4m3fn
    torch.testing.assert_close(rounded.float() * scale, values)


def test_a_model_in_float8_is_bfloat16_elsewhere():
    assert find_dtype("fp8", torch.device("cpu")) == torch.bfloat16


def test_a_gpu_without_float8_is_named(monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (8, 6))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "NVIDIA RTX A6000")
    with pytest.raises(SpecError, match="NVIDIA RTX A6000 has no float8"):
        check_device(torch.device("cuda", 0))
    check_device(torch.device("cpu"))
