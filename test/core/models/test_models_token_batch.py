# SPDX-License-Identifier: Apache-2.0
"""What is known of a batch's tokens before a network runs: where they are, and who sees whom."""

import numpy as np
import pytest
from models.golden import torch

from gr00t_policy_core.models.common.prompts import pad
from gr00t_policy_core.models.common.token_batch import PatchPositions, make_token_batch

IMAGE_ID = 9
POSITIONS = PatchPositions(torch.zeros(1, 4, 2), None, None)


def tokens_of(rows, multiple=1, mask_padding=False):
    prompts = pad(rows, pad_id=0, image_id=IMAGE_ID, multiple=multiple)
    angles = torch.arange(prompts.ids.size * 4.0).reshape(*prompts.ids.shape, 4)
    return make_token_batch(
        prompts,
        (angles, angles),
        POSITIONS,
        mask_padding=mask_padding,
        device=torch.device("cpu"),
        dtype=torch.float32,
    )


def hidden(bias):
    """Where a bias hides; it must be 0 everywhere else."""
    values = bias.numpy()
    assert set(np.unique(values)) <= {0.0, -np.inf}
    return np.isneginf(values).astype(int).squeeze().tolist()


def test_images_and_text_are_found_row_by_row():
    tokens = tokens_of([[5, IMAGE_ID, IMAGE_ID, 6], [5, IMAGE_ID, 6, IMAGE_ID]])
    assert tokens.image_positions.tolist() == [1, 2, 5, 7]
    assert tokens.text_positions.tolist() == [0, 3, 4, 6]


def test_nothing_is_hidden_where_nothing_is_filled_up():
    tokens = tokens_of([[5, IMAGE_ID], [6, IMAGE_ID]])
    assert tokens[5:9] == (None, None, None, None)
    assert tokens.patch_positions == POSITIONS


def test_the_table_of_sines_has_the_sign_of_a_rotation():
    tokens = tokens_of([[5]])
    assert tokens.cos.flatten().tolist() == [0.0, 1.0, 2.0, 3.0]
    assert tokens.sin.flatten().tolist() == [0.0, -1.0, 2.0, 3.0]


@pytest.mark.parametrize("mask_padding", [False, True])
def test_what_a_row_is_filled_up_with_is_hidden_from_its_tokens(mask_padding):
    tokens = tokens_of([[5, 6, IMAGE_ID], [7, IMAGE_ID]], mask_padding=mask_padding)
    assert hidden(tokens.causal_bias[0]) == [[0, 1, 1], [0, 0, 1], [0, 0, 0]]
    assert hidden(tokens.causal_bias[1]) == [[0, 1, 1], [1, 0, 1], [1, 0, 0]]
    assert hidden(tokens.text_bias) == [[0, 0], [1, 0]]
    if mask_padding:
        assert tokens.padding_mask is None
        assert hidden(tokens.token_bias) == [[0, 0, 0], [1, 0, 0]]
    else:
        assert tokens.padding_mask.squeeze().tolist() == [[False] * 3, [True, False, False]]
        assert tokens.token_bias is None


def test_what_a_batch_is_filled_up_with_is_hidden_from_who_could_see_it():
    tokens = tokens_of([[5, 6, IMAGE_ID]], multiple=4)
    assert tokens.causal_bias is None, "the future is hidden anyway"
    assert tokens.padding_mask is None
    assert tokens.text_positions.tolist() == [0, 1, 3]
    assert hidden(tokens.text_bias) == [0, 0, 1]
    assert hidden(tokens.token_bias) == [0, 0, 0, 1]


def test_both_kinds_of_padding_are_told_apart():
    tokens = tokens_of([[5, 6, IMAGE_ID], [7, IMAGE_ID]], multiple=4)
    assert hidden(tokens.token_bias) == [[0, 0, 0, 1]] * 2
    assert hidden(tokens.text_bias) == [[0, 0, 1], [1, 0, 1]]
    assert tokens.padding_mask.squeeze().tolist() == [[False] * 4, [True, False, False, False]]
