# SPDX-License-Identifier: Apache-2.0
"""Recorded calls, with recorders that run on a CPU: memory is its own, shapes have theirs."""

import gc
import logging

import numpy as np
import pytest
from models.golden import assert_golden, largest, policy_of, torch
from torch.fx.experimental.proxy_tensor import make_fx

from gr00t_policy_core import SpecError
from gr00t_policy_core.models.common.graphs import Recording, StaticCall
from gr00t_policy_core.models.common.runner import RunSettings
from gr00t_policy_core.models.policy import ModelPolicy

GRAPHS = RunSettings(cuda_graphs=True)


class FakeGraphs:
    """Records as a graph does: replaying reads and writes the memory of the recording."""

    def __init__(self):
        self.recorded = 0

    def __call__(self, function, inputs):
        self.recorded += 1
        output = function(*inputs)
        return Recording(inputs, output, lambda: output.copy_(function(*inputs)))


class Tapes(FakeGraphs):
    """Records the operators, and replays them: like a graph, without running Python again."""

    def __call__(self, function, inputs):
        self.recorded += 1
        given = [value for value in inputs if value is not None]

        def of_tensors(*tensors):
            left = iter(tensors)
            return function(*(None if value is None else next(left) for value in inputs))

        tape = make_fx(of_tensors)(*given)
        output = tape(*given)
        return Recording(inputs, output, lambda: output.copy_(tape(*given)))


def no_graphs(function, inputs):
    raise RuntimeError("operation not permitted when stream is capturing\nand more")


def recorded(name, graphs, settings=GRAPHS):
    """The policy of a golden checkpoint, its calls recorded."""
    loaded = policy_of(name)
    return ModelPolicy(loaded.model, loaded.device, loaded.dtype, settings, record=graphs)


def test_a_shape_is_recorded_once_and_replayed_with_what_comes():
    graphs = FakeGraphs()
    double = StaticCall(lambda x: 2 * x, graphs)
    for value in (1.0, 2.0, 3.0):
        assert double(torch.full((3,), value)).tolist() == [2 * value] * 3
    assert graphs.recorded == 1
    double(torch.ones(4))
    double(torch.ones(3, dtype=torch.float64))
    assert graphs.recorded == 3


def test_answers_and_inputs_are_not_the_recordings_memory():
    double = StaticCall(lambda x: 2 * x, FakeGraphs())
    given = torch.ones(2)
    first = double(given)
    double(torch.full((2,), 5.0))
    assert first.tolist() == [2.0, 2.0]
    assert given.tolist() == [1.0, 1.0]
    assert double(given).tolist() == [2.0, 2.0]
    assert double(given).tolist() == [2.0, 2.0], "what comes again need not be copied again"


def test_an_argument_may_be_none():
    add = StaticCall(lambda x, y: x if y is None else x + y, FakeGraphs())
    assert add(torch.ones(1), None).tolist() == [1.0]
    assert add(torch.ones(1), torch.ones(1)).tolist() == [2.0]
    assert add(torch.zeros(1), None).tolist() == [0.0]


def test_the_recording_that_was_not_used_for_longest_goes_first():
    graphs = FakeGraphs()
    double = StaticCall(lambda x: 2 * x, graphs, kept=2)
    for length in (1, 2, 1, 3, 1):
        double(torch.ones(length))
    assert graphs.recorded == 3
    double(torch.ones(2))
    assert graphs.recorded == 4


def test_what_cannot_be_recorded_is_computed_and_the_log_says_so_once(caplog):
    double = StaticCall(lambda x: 2 * x, no_graphs)
    with caplog.at_level(logging.WARNING):
        assert double(torch.ones(2)).tolist() == [2.0, 2.0]
        assert double(torch.ones(3)).tolist() == [2.0] * 3
    assert [record.getMessage() for record in caplog.records] == [
        "no CUDA graphs, each kernel is started by itself: "
        "operation not permitted when stream is capturing"
    ]


def test_an_error_of_the_call_itself_is_not_hidden():
    def wrong(x):
        raise RuntimeError("shapes do not fit")

    with pytest.raises(RuntimeError, match="shapes do not fit"):
        StaticCall(wrong, FakeGraphs())(torch.ones(1))


def test_a_replayed_tape_of_a_whole_call_gives_the_references_actions(golden):
    """Recorded with other pictures, states and noise, for one row and for three."""
    tapes = Tapes()
    policy = recorded(golden.name, tapes)
    for case in ("one", "batch"):
        other = golden.observation(case)
        for group in ("video", "state"):
            other[group] = {key: values[::-1].copy() for key, values in other[group].items()}
        for values in other["video"].values():
            values[...] = 255 - values
        policy.get_action(other, {"seed": golden.seed + 1})
        assert_golden(golden, case, policy)
    assert tapes.recorded == 4, "one of each function for each shape"


def test_a_recorded_call_that_masks_padding_gives_the_references_actions(golden):
    policy = recorded(golden.name, FakeGraphs(), RunSettings(cuda_graphs=True, mask_padding=True))
    assert_golden(golden, "one", policy)


def test_a_call_that_cannot_be_recorded_gives_the_references_actions(golden, caplog):
    policy = recorded(golden.name, no_graphs)
    with caplog.at_level(logging.WARNING):
        assert_golden(golden, "one", policy)
        assert_golden(golden, "batch", policy)
    assert len(caplog.records) == 2, "one line for each function"


def test_instructions_of_about_the_same_length_share_a_recording(golden):
    graphs = FakeGraphs()
    policy, alone = recorded(golden.name, graphs), policy_of(golden.name)
    observation = golden.observation("one")
    lengths, rounded = set(), set()
    for words in (1, 2, 3):
        observation["language"] = {golden.language_key: [[" ".join(["go"] * words)]]}
        texts = policy.instructions(observation)
        pictures = policy.picture_grid(observation)
        lengths.add(policy.model.backbone.prompts(texts, pictures).length)
        rounded.add(policy.runner.tokens(texts, pictures).ids.shape[1])
        expected, _ = alone.get_action(observation, {"seed": 3})
        action, _ = policy.get_action(observation, {"seed": 3})
        for key, values in expected.items():
            np.testing.assert_allclose(action[key], values, atol=1e-4 * largest(values))
    assert len(lengths) == 3
    assert graphs.recorded == 2 * len(rounded) < 6


def test_a_recorded_call_goes_with_real_time_chunking(n1d7):
    policy, alone = recorded(n1d7.name, FakeGraphs()), policy_of(n1d7.name)
    observation = n1d7.observation("one")
    before, _ = alone.get_action(observation, {"seed": 1})
    prefix = {key: values[:, 8:].copy() for key, values in before.items()}
    for frozen in (3, 1):
        rtc = {"prefix": prefix, "frozen_steps": frozen, "ramp_rate": 5.0}
        expected, _ = alone.get_action(observation, {"seed": 2, "rtc": rtc})
        action, _ = policy.get_action(observation, {"seed": 2, "rtc": rtc})
        for key, values in expected.items():
            np.testing.assert_allclose(action[key], values, atol=1e-4 * largest(values))


def test_graphs_without_a_gpu_are_refused():
    loaded = policy_of("gr00t_n1d7/a")
    with pytest.raises(SpecError, match="CUDA graphs need a GPU, the device is cpu"):
        ModelPolicy(loaded.model, loaded.device, loaded.dtype, GRAPHS)


def test_warming_up_records_before_a_robot_asks_and_changes_no_answer(golden):
    graphs = FakeGraphs()
    policy, cold = recorded(golden.name, graphs), policy_of(golden.name)
    assert policy.warm_up() > 0.0
    assert graphs.recorded > 0
    assert gc.get_freeze_count() > 10_000
    before = graphs.recorded
    observation = policy.made_up_observation()
    action, _ = policy.get_action(observation, {"seed": 1})
    expected, _ = cold.get_action(observation, {"seed": 1})
    for key, values in expected.items():
        np.testing.assert_allclose(action[key], values, atol=1e-5 * largest(values))
    assert graphs.recorded == before
