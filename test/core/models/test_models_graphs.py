# SPDX-License-Identifier: Apache-2.0
"""Recorded calls, with a recorder that runs on a CPU: memory is its own, shapes have theirs."""

import pytest
from models.golden import golden_of, largest, policy_of, torch

from gr00t_policy_core import SpecError
from gr00t_policy_core.models.common.graphs import Recording, StaticCall
from gr00t_policy_core.models.policy import ModelPolicy


class FakeGraphs:
    """Records as a graph does: replaying reads and writes the memory of the recording."""

    def __init__(self):
        self.recorded = 0

    def __call__(self, function, inputs):
        self.recorded += 1
        output = function(*inputs)
        return Recording(inputs, output, lambda: output.copy_(function(*inputs)))


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


@pytest.mark.parametrize("name", ["gr00t_n1d7/a", "gr00t_n1d6/b"])
def test_a_recorded_head_gives_the_same_actions(name):
    golden, graphs = golden_of(name), FakeGraphs()
    loaded = policy_of(name)
    policy = ModelPolicy(loaded.model, loaded.device, loaded.dtype)
    policy._act = StaticCall(loaded.model.head.act, graphs)
    for case in ("one", "batch", "one"):
        action, _ = policy.get_action(golden.observation(case), {"seed": golden.seed})
        for key, values in golden.group(case, "action").items():
            assert largest(action[key] - values) <= 1e-4 * largest(values), key
    assert graphs.recorded == 2


def test_graphs_without_a_gpu_are_refused():
    loaded = policy_of("gr00t_n1d7/a")
    with pytest.raises(SpecError, match="CUDA graphs need a GPU, the device is cpu"):
        ModelPolicy(loaded.model, loaded.device, loaded.dtype, cuda_graphs=True)
