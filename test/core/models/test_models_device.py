# SPDX-License-Identifier: Apache-2.0
"""What runs on the device never makes the host wait for it, and takes nothing from the host.

Shown on torch's meta device, where nothing has a value that could be read back: neither a number
nor the size of something that depends on numbers.
"""

import pytest
from models.golden import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from gr00t_policy_core.models import gr00t_n1d6, gr00t_n1d7
from gr00t_policy_core.models.common.execution_settings import ExecutionSettings
from gr00t_policy_core.models.common.runner import Runner
from gr00t_policy_core.models.common.transformer import SelfAttentionTransformer

META = torch.device("meta")
ROWS = 3
CAMERAS = 2
TEXTS = ["pick up the cube", "open the drawer and put it in", "stop"]


class OnlyOnTheDevice(TorchDispatchMode):
    """Lets no operator read or make a tensor elsewhere."""

    def __torch_dispatch__(self, operator, types, args=(), kwargs=None):
        result = operator(*args, **(kwargs or {}))
        for value in tree_leaves((args, kwargs, result)):
            if isinstance(value, torch.Tensor) and value.device != META:
                raise AssertionError(f"{operator} has to do with a tensor on {value.device}")
        return result


def ones(*shape, dtype=torch.bfloat16):
    return torch.ones(*shape, dtype=dtype, device=META)


def run(line, texts, settings, small=True):
    """All of a call from images and tokens to actions, on the meta device."""
    model = line.random_model(small=small, cameras=CAMERAS, device=META, dtype=torch.bfloat16)
    config = model.head.config
    runner = Runner(model, META, torch.bfloat16, settings)
    tokens = runner.token_batch(texts, model.backbone.grid(CAMERAS, *IMAGE_SIZES[line]))
    images = ones(CAMERAS * len(texts), *IMAGE_SIZES[line], 3, dtype=torch.uint8)
    start = ones(len(texts), config.action_horizon, config.max_action_dim)
    state = ones(len(texts), 1, config.max_state_dim)
    scale = ones(config.action_horizon, 1)
    with torch.inference_mode(), OnlyOnTheDevice():
        features = runner.eager_backbone(*tokens, images)
        actions = runner.eager_head(features, state, start, scale, *tokens)
    return tokens, features, actions, start


IMAGE_SIZES = {gr00t_n1d7: (256, 352), gr00t_n1d6: (252, 336)}
RESIZED = {
    gr00t_n1d7: {(480, 640): (256, 352), (512, 512): (256, 256), (90, 160): (256, 448)},
    gr00t_n1d6: {(480, 640): (252, 336), (512, 512): (252, 252), (90, 160): (252, 448)},
}


@pytest.mark.parametrize("mask_padding", [False, True])
@pytest.mark.parametrize("texts", [TEXTS, TEXTS[:1]])
@pytest.mark.parametrize("line", [gr00t_n1d6, gr00t_n1d7])
def test_a_whole_call_reads_nothing_back(line, texts, mask_padding):
    tokens, features, actions, start = run(line, texts, ExecutionSettings(mask_padding))
    assert (tokens.causal_bias is None) == (len(texts) == 1)
    assert features.shape[:2] == tokens.ids.shape
    assert actions.shape == start.shape
    assert (actions.device, actions.dtype) == (META, torch.bfloat16)


@pytest.mark.parametrize("line", [gr00t_n1d6, gr00t_n1d7])
def test_a_whole_call_in_the_published_shape_reads_nothing_back(line):
    _, features, actions, start = run(line, TEXTS, ExecutionSettings(), small=False)
    assert features.shape[-1] == 2048
    assert actions.shape == start.shape


def test_the_published_shape_is_as_large_as_is_said():
    model = gr00t_n1d7.random_model(small=False, cameras=1, device=META, dtype=torch.bfloat16)
    backbone, head = (
        sum(parameter.numel() for parameter in part.parameters())
        for part in (model.backbone.network, model.head)
    )
    assert (round(backbone / 1e9, 2), round(head / 1e9, 2)) == (1.52, 1.30)


@pytest.mark.parametrize("size", [(480, 640), (512, 512), (90, 160)])
@pytest.mark.parametrize("line", [gr00t_n1d6, gr00t_n1d7])
def test_resizing_images_reads_nothing_back(line, size):
    model = line.random_model(small=True, cameras=1, device=META, dtype=torch.bfloat16)
    frames = ones(CAMERAS, *size, 3, dtype=torch.uint8)
    with torch.inference_mode():
        model.backbone.images_on_device(frames)  # brings the weights of this size, which stay
        with OnlyOnTheDevice():
            images = model.backbone.images_on_device(frames)
    assert images.shape == (CAMERAS, *RESIZED[line][size], 3)
    assert (images.device, images.dtype) == (META, torch.uint8)


@pytest.mark.parametrize("line", [gr00t_n1d6, gr00t_n1d7])
def test_a_whole_call_of_a_round_length_reads_nothing_back(line):
    tokens, *_ = run(line, TEXTS[:1], ExecutionSettings(compile="default"))
    assert tokens.ids.shape[1] % 16 == 0
    assert tokens.token_bias is not None


def test_vl_self_attention_is_a_part_of_that_call():
    model = gr00t_n1d7.random_model(small=True, cameras=1, device=META, dtype=torch.bfloat16)
    assert isinstance(model.head.vl_self_attention, SelfAttentionTransformer)


@pytest.mark.parametrize(
    "read_back",
    [
        lambda: ones(1).item(),
        lambda: ones(3).nonzero(),
        lambda: ones(3)[ones(3) > 0],
        lambda: ones(3).to("cpu"),
        lambda: ones(3) * torch.ones(3),
        lambda: torch.ones(3).to(META),
    ],
)
def test_what_is_read_back_or_brought_in_would_be_seen(read_back):
    with pytest.raises((RuntimeError, AssertionError, NotImplementedError)), OnlyOnTheDevice():
        read_back()
