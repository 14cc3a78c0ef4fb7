# SPDX-License-Identifier: Apache-2.0
"""A batch gives what its rows give one by one."""

import threading

import numpy as np
import pytest
from models.golden import features_of, golden_of, largest, policy_of, rows_of, torch
from peers.lines import LINES
from peers.stock import StockClient
from server_rig import wait_until

from gr00t_policy_core import PolicyServer
from gr00t_policy_core.policy import PolicyWrapper

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

    def key(*texts, options=None):
        language = {golden.language_key: [[text] for text in texts]}
        return policy.batch_key({**observation, "language": language}, options)

    assert policy.max_batch_size > 1
    same = key("lift the cube", "lift the cube", "lift the cube")
    assert same is not None
    assert same == key("lift the cube", "LIFT the cube!", "lift the cube"), "cleaned alike"
    assert key("lift the cube", options={"seed": 1}) is None
    if golden.name.startswith("gr00t_n1d6"):  # an alternating DiT sees no padding
        assert same == key("lift the cube", "put the cube down there")
    else:
        assert key("lift the cube", "put the cube down there") is None
        assert same not in (None, key("put the cube down there"))


def test_with_masked_padding_a_server_joins_different_instructions():
    golden = golden_of("gr00t_n1d7/c")
    policy = policy_of("gr00t_n1d7/c", mask_padding=True)
    assert policy.batch_key(golden.observation("batch"), None) == ()


class Gated(PolicyWrapper):
    """Its first call waits until it is let go, so that others gather."""

    def __init__(self, policy):
        super().__init__(policy)
        self.entered, self.release = threading.Event(), threading.Event()
        self.rows = []

    def _get_action(self, observation, options=None):
        self.rows.append(len(next(iter(observation["state"].values()))))
        self.entered.set()
        assert self.release.wait(20)
        return super()._get_action(observation, options)


def test_a_real_server_gives_each_of_many_clients_what_it_gets_alone(golden, policy, monkeypatch):
    """Clients with two instructions of one length and one of another ask at once."""

    def constant(seed, shape):
        return torch.from_numpy(golden.arrays["one/noise"]).expand(shape).clone()

    monkeypatch.setattr("gr00t_policy_core.models.common.preprocessor.initial_noise", constant)
    batch = golden.observation("batch")
    texts = ["lift the cube", "lift cube the", "put the cube down there and stay", "lift the cube"]
    observations = []
    for number, text in enumerate(texts):
        one = rows_of(batch, slice(number % ROWS, number % ROWS + 1))
        observations.append({**one, "language": {golden.language_key: [[text]]}})
    alone = [policy.get_action(observation)[0] for observation in observations]

    gated, answers = Gated(policy), {}
    with PolicyServer(gated, host="127.0.0.1", port=0) as server:

        def ask(name, observation):
            with StockClient(LINES["n1d7"](), server.port) as client:
                data = {"observation": observation, "options": None}
                answers[name] = client.call("get_action", data=data)[0]

        def start(name, observation):
            threads.append(threading.Thread(target=ask, args=(name, observation)))
            threads[-1].start()

        threads = []
        start("first", observations[0])
        assert gated.entered.wait(20)
        for number, observation in enumerate(observations):
            start(number, observation)
        wait_until(lambda: server.metrics()["waiting"]["requests"] == len(observations))
        gated.release.set()
        for thread in threads:
            thread.join(20)
            assert not thread.is_alive()

    independent = golden.name.startswith("gr00t_n1d6")
    assert sorted(gated.rows) == ([1, 4] if independent else [1, 1, 3])
    for number, expected in enumerate(alone):
        for key, values in expected.items():
            error = largest(answers[number][key] - values)
            assert error <= 1e-4 * largest(values), (number, key)
    assert any(largest(alone[0][key] - alone[2][key]) > 0 for key in alone[0])
