# SPDX-License-Identifier: Apache-2.0
"""The prompt cache keeps rows, joins them in any order, and is bounded by bytes."""

import random

import numpy as np
import pytest
from models.golden import golden_of, policy_of, torch

from gr00t_policy_core import SpecError
from gr00t_policy_core.models.common.prompt_cache import PromptCache, TokenCache, size_bytes
from gr00t_policy_core.models.common.token_batch import ImageGrid, make_token_batch

TEXTS = ("pick up the apple", "open the drawer, then close it", "move left", "do it")
GRID = ImageGrid(2, 2, 3)


def cache_of(policy, **settings):
    settings = {"mask_padding": False, "multiple": 1, **settings}
    multiple = settings.pop("multiple")
    return PromptCache(
        policy.model.backbone, multiple, device=policy.device, dtype=policy.dtype, **settings
    )


@pytest.mark.parametrize("mask_padding", [False, True])
@pytest.mark.parametrize("multiple", [1, 16])
@pytest.mark.parametrize("texts", [TEXTS, TEXTS[:1], TEXTS[1:2] * 3, TEXTS[2:] + TEXTS[:1]])
def test_a_batch_joined_from_rows_equals_one_made_at_once(policy, texts, multiple, mask_padding):
    backbone = policy.model.backbone
    prompts = backbone.prompts(texts, GRID, multiple)
    expected = make_token_batch(
        prompts,
        backbone.rotary(prompts, GRID),
        backbone.patch_positions(GRID),
        mask_padding=mask_padding,
        device=policy.device,
        dtype=policy.dtype,
    )
    cache = cache_of(policy, multiple=multiple, mask_padding=mask_padding)
    cache(tuple(reversed(texts)), GRID)
    tokens = cache(texts, GRID)
    for name, wanted in expected._asdict().items():
        given = getattr(tokens, name)
        assert (given is None) == (wanted is None), name
        if wanted is not None:
            torch.testing.assert_close(given, wanted.expand_as(given), rtol=0, atol=0)
            assert given.shape[1:] == wanted.shape[1:], name


def test_clients_with_fixed_prompts_are_made_once_in_any_order(policy):
    cache = cache_of(policy)
    clients = [f"put cube number {n} on the plate" for n in range(8)]
    shuffle = random.Random(0)
    for _ in range(100):
        shuffle.shuffle(clients)
        cache(tuple(clients), GRID)
    assert cache.rows.misses == len(clients)


def test_the_same_batch_again_is_the_same_tensors(policy):
    cache = cache_of(policy)
    assert cache(TEXTS, GRID) is cache(TEXTS, GRID)


def test_new_prompts_all_the_time_take_bounded_memory(policy):
    room = 2**20
    cache = cache_of(policy, capacity_bytes=room)
    for number in range(100):
        cache((f"prompt number {number}", "another one that is longer"), GRID)
    for entries in (cache.rows, cache.batches):
        assert 0.5 * room < entries.used_bytes <= room
        assert entries.used_bytes == sum(map(size_bytes, entries._entries.values()))


def test_a_batch_larger_than_the_capacity_is_not_kept(policy):
    tokens = cache_of(policy)(TEXTS, GRID)
    small = TokenCache(size_bytes(tokens) - 1)
    assert small.get("key", lambda: tokens) is tokens
    assert small.used_bytes == 0


@pytest.mark.parametrize("strict", [True, False])
@pytest.mark.parametrize("text", ["go " * 1000, "走" * 700])
def test_an_instruction_that_is_too_long_is_refused_by_name(golden, strict, text, monkeypatch):
    policy = policy_of(golden.name)
    monkeypatch.setattr(policy, "strict", strict)
    observation = golden.observation("one")
    observation["language"] = {golden.language_key: [[text]]}
    expected = r": an instruction may have 2048 bytes of UTF-8, this one has \d+:"
    with pytest.raises(SpecError, match=rf"language\.{golden.language_key}{expected}"):
        policy.get_action(observation)


def test_the_longest_instruction_that_is_read_takes_less_room_than_there_is():
    golden = golden_of("gr00t_n1d7/c")
    policy = policy_of(golden.name)
    observation = golden.observation("one")
    observation["language"] = {golden.language_key: [["go to it " * 227]]}
    policy.get_action(observation)
    texts, grid = (
        policy.preprocessor.instructions(observation),
        policy.preprocessor.image_grid(observation),
    )
    tokens = policy.runner.token_batch(texts, grid)
    assert tokens is policy.runner.token_batch(texts, grid)
    assert np.prod(tokens.ids.shape) > 500
