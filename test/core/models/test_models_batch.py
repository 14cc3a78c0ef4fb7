# SPDX-License-Identifier: Apache-2.0
"""A batch gives what its rows give one by one."""

import numpy as np
import pytest
from models.golden import features_of, golden_of, largest, policy_of, rows_of, torch

ROWS = 3


def answers_alone(policy, observation, start) -> list[np.ndarray]:
    """Normalised actions of each row by itself, from its part of the noise."""
    return [
        normalized(policy, rows_of(observation, slice(row, row + 1)), start[row : row + 1])[0]
        for row in range(ROWS)
    ]


def normalized(policy, observation, start) -> np.ndarray:
    embodiment, head = policy.embodiment, policy.model.head
    with torch.inference_mode():
        features, tokens = features_of(policy, observation)
        state = embodiment.encode_state(observation["state"], head.config.max_state_dim)
        noise = torch.from_numpy(start)
        actions = policy.runner.actions(features, tokens, torch.from_numpy(state), noise, None)
        return actions.numpy()


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("gr00t_n1d6/a", {}),
        ("gr00t_n1d6/b", {}),
        ("gr00t_n1d7/a", {"mask_padding": True}),
        ("gr00t_n1d7/b", {"mask_padding": True}),
    ],
)
def test_rows_with_instructions_of_different_length_are_independent(name, settings):
    golden, policy = golden_of(name), policy_of(name, **settings)
    observation, start = golden.observation("batch"), golden.arrays["batch/noise"]

    together = normalized(policy, observation, start)

    for row, alone in enumerate(answers_alone(policy, observation, start)):
        assert largest(together[row] - alone) <= 1e-5, f"row {row}"


def test_rows_with_one_instruction_are_independent(golden, policy):
    observation, start = golden.observation("batch"), golden.arrays["batch/noise"]
    prompts = observation["language"][golden.language_key]
    observation["language"] = {golden.language_key: [prompts[0]] * ROWS}

    together = normalized(policy, observation, start)

    for row, alone in enumerate(answers_alone(policy, observation, start)):
        assert largest(together[row] - alone) <= 1e-5, f"row {row}"
    assert largest(together[0] - together[1]) > 1e-2, "the rows do not differ"


@pytest.mark.parametrize("name", ["gr00t_n1d7/a", "gr00t_n1d7/b"])
def test_masked_padding_changes_padded_rows_only(name):
    golden = golden_of(name)
    observation, start = golden.observation("batch"), golden.arrays["batch/noise"]
    lengths = (golden.arrays["batch/input_ids"] != golden.pad_id).sum(axis=1)
    padded = lengths < lengths.max()
    assert padded.any()
    assert not padded.all()

    reference = normalized(policy_of(name), observation, start)
    masked = normalized(policy_of(name, mask_padding=True), observation, start)

    assert largest((masked - reference)[~padded]) <= 1e-5
    assert all(largest(row) > 1e-3 for row in (masked - reference)[padded])


def test_a_server_joins_only_what_stays_the_same_in_company(golden, policy):
    observation = golden.observation("batch")
    key = golden.language_key
    one = {**observation, "language": {key: [["lift the cube"]] * ROWS}}
    other = {**observation, "language": {key: [["lift the cube"]] * (ROWS - 1) + [["put it down"]]}}

    assert policy.max_batch_size > 1
    assert policy.batch_key(one, None) == "lift the cube"
    assert policy.batch_key(other, None) is None
    assert policy.batch_key(one, {"seed": 1}) is None


def test_with_masked_padding_a_server_joins_different_instructions():
    golden = golden_of("gr00t_n1d7/a")
    policy = policy_of("gr00t_n1d7/a", mask_padding=True)
    assert policy.batch_key(golden.observation("batch"), None) == ()
