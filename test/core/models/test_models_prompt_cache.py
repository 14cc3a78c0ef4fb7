# SPDX-License-Identifier: Apache-2.0
"""What is kept of prompts: rows, in any company, within so many bytes."""

import random

import numpy as np
import pytest
from models.golden import golden_of, policy_of, torch

from gr00t_policy_core import SpecError
from gr00t_policy_core.models.common.prompt_cache import PromptCache, TokenCache, size_bytes
from gr00t_policy_core.models.common.token_batch import ImageGrid, make_token_batch

TEXTS = ("pick up the apple", "open the drawer, then close it", "move left", "do it")
PICTURES = ImageGrid(2, 2, 3)


def layouts_of(policy, **settings):
    settings = {"mask_padding": False, "multiple": 1, **settings}
    multiple = settings.pop("multiple")
    return PromptCache(
        policy.model.backbone, multiple, device=policy.device, dtype=policy.dtype, **settings
    )


@pytest.mark.parametrize("mask_padding", [False, True])
@pytest.mark.parametrize("multiple", [1, 16])
@pytest.mark.parametrize("texts", [TEXTS, TEXTS[:1], TEXTS[1:2] * 3, TEXTS[2:] + TEXTS[:1]])
def test_a_batch_of_rows_is_what_laying_out_all_of_it_gives(policy, texts, multiple, mask_padding):
    backbone = policy.model.backbone
    prompts = backbone.prompts(texts, PICTURES, multiple)
    expected = make_token_batch(
        prompts,
        backbone.rotary(prompts, PICTURES),
        backbone.places(PICTURES),
        mask_padding=mask_padding,
        device=policy.device,
        dtype=policy.dtype,
    )
    layouts = layouts_of(policy, multiple=multiple, mask_padding=mask_padding)
    layouts(tuple(reversed(texts)), PICTURES)
    tokens = layouts(texts, PICTURES)
    for name, wanted in expected._asdict().items():
        given = getattr(tokens, name)
        assert (given is None) == (wanted is None), name
        if wanted is not None:
            torch.testing.assert_close(given, wanted.expand_as(given), rtol=0, atol=0)
            assert given.shape[1:] == wanted.shape[1:], name


def test_clients_with_fixed_prompts_are_laid_out_once_whatever_their_order(policy):
    layouts = layouts_of(policy)
    clients = [f"put cube number {n} on the plate" for n in range(8)]
    shuffle = random.Random(0)
    for _ in range(100):
        shuffle.shuffle(clients)
        layouts(tuple(clients), PICTURES)
    assert layouts.rows.made == len(clients)


def test_the_same_batch_again_is_the_same_tensors(policy):
    layouts = layouts_of(policy)
    assert layouts(TEXTS, PICTURES) is layouts(TEXTS, PICTURES)


def test_new_prompts_all_the_time_take_bounded_memory(policy):
    room = 2**20
    layouts = layouts_of(policy, capacity_bytes=room)
    for number in range(100):
        layouts((f"prompt number {number}", "another one that is longer"), PICTURES)
    for kept in (layouts.rows, layouts.batches):
        assert 0.5 * room < kept.used_bytes <= room
        assert kept.used_bytes == sum(map(size_bytes, kept._kept.values()))


def test_what_is_larger_than_all_room_is_not_kept(policy):
    tokens = layouts_of(policy)(TEXTS, PICTURES)
    kept = TokenCache(size_bytes(tokens) - 1)
    assert kept.get("key", lambda: tokens) is tokens
    assert kept.used_bytes == 0


@pytest.mark.parametrize("strict", [True, False])
@pytest.mark.parametrize("text", ["go " * 1000, "走" * 700])
def test_an_instruction_that_is_too_long_is_refused_by_name(golden, strict, text, monkeypatch):
    policy = policy_of(golden.name)
    monkeypatch.setattr(policy, "strict", strict)
    observation = golden.observation("one")
    observation["language"] = {golden.language_key: [[text]]}
    expected = rf"language\.{golden.language_key}: an instruction has \d+ bytes .* at most 2048"
    with pytest.raises(SpecError, match=expected):
        policy.get_action(observation)


def test_the_longest_instruction_that_is_read_takes_less_room_than_there_is():
    golden = golden_of("gr00t_n1d7/c")
    policy = policy_of(golden.name)
    observation = golden.observation("one")
    observation["language"] = {golden.language_key: [["go to it " * 227]]}
    policy.get_action(observation)
    texts, pictures = policy.instructions(observation), policy.image_grid(observation)
    tokens = policy.runner.tokens(texts, pictures)
    assert tokens is policy.runner.tokens(texts, pictures)
    assert np.prod(tokens.ids.shape) > 500
