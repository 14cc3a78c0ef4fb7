# SPDX-License-Identifier: Apache-2.0
"""What runs on the device never makes the host wait for it, and stays there.

Shown on torch's meta device, where nothing has a value that could be read back.
"""

import pytest
from golden import torch

from gr00t_policy_core.models import gr00t_n1d6, gr00t_n1d7
from gr00t_policy_core.models.common.head import Features

META = torch.device("meta")
ROWS = 3


def make(line):
    return line.random_model(small=True, cameras=2, device=META, dtype=torch.bfloat16)


def ones(*shape, dtype=torch.bfloat16):
    return torch.ones(*shape, dtype=dtype, device=META)


@pytest.mark.parametrize("mask_padding", [False, True])
@pytest.mark.parametrize("line", [gr00t_n1d6, gr00t_n1d7])
def test_an_action_head_reads_nothing_back(line, mask_padding):
    head = make(line).head
    head.mask_padding = mask_padding
    config = head.config
    flags = ones(ROWS, 20, dtype=torch.bool)
    features = Features(ones(ROWS, 20, config.backbone_embedding_dim), flags, flags)
    with torch.inference_mode():
        conditioning = head.condition(features, ones(ROWS, 1, config.max_state_dim))
        start = ones(ROWS, config.action_horizon, config.max_action_dim)
        action = head.sample(conditioning, start, ones(config.action_horizon, 1))
    assert action.shape == start.shape
    assert action.device == META
    assert action.dtype == torch.bfloat16


def test_n1d6s_vision_tower_reads_nothing_back():
    network = make(gr00t_n1d6).backbone.network
    with torch.inference_mode():
        patches = network.vision_model["vision_model"](ones(4, 3, 252, 252))
        tokens = network.mlp1(patches, (18, 18))
    assert tokens.shape == (4 * 81, 128)
    assert tokens.device == META


def test_the_meta_device_would_show_a_value_that_is_read_back():
    with pytest.raises(RuntimeError):
        ones(1).item()
