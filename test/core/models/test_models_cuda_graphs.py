# SPDX-License-Identifier: Apache-2.0
"""Captured calls, with capturers that run on a CPU: memory is its own, shapes have theirs."""

import contextlib
import gc
import logging
import threading

import numpy as np
import pytest
from models.golden import assert_golden, golden_of, largest, policy_of, rows_of, torch
from server_rig import wait_until
from torch.fx.experimental.proxy_tensor import make_fx

from gr00t_policy_core import PolicyClient, PolicyServer, SpecError
from gr00t_policy_core.models.common.capture_queue import CaptureQueue
from gr00t_policy_core.models.common.cuda_graphs import Capture, GraphedFunction, StorageTracker
from gr00t_policy_core.models.common.execution_settings import ExecutionSettings, batch_sizes
from gr00t_policy_core.models.model_policy import ModelPolicy

GRAPHS = ExecutionSettings(cuda_graphs=True)


class FakeGraphs:
    """Captures as a graph does: replaying reads and writes the memory of the capture."""

    def __init__(self):
        self.captured = 0

    def __call__(self, function, inputs):
        self.captured += 1
        output = function(*inputs)
        return Capture(inputs, output, lambda: output.copy_(function(*inputs)))


class Tapes(FakeGraphs):
    """Captures the operators, and replays them: like a graph, without running Python again."""

    def __call__(self, function, inputs):
        self.captured += 1
        given = [value for value in inputs if value is not None]

        def of_tensors(*tensors):
            left = iter(tensors)
            return function(*(None if value is None else next(left) for value in inputs))

        tape = make_fx(of_tensors)(*given)
        output = tape(*given)
        return Capture(inputs, output, lambda: output.copy_(tape(*given)))


class SlowTapes(Tapes):
    """Tapes that are not finished before somebody says so."""

    def __init__(self):
        super().__init__()
        self.began, self.finish = threading.Event(), threading.Event()

    def __call__(self, function, inputs):
        self.began.set()
        assert self.finish.wait(60)
        return super().__call__(function, inputs)


def no_graphs(function, inputs):
    raise RuntimeError("operation not permitted when stream is capturing\nand more")


def captured(name, graphs, settings=GRAPHS):
    """The policy of a golden checkpoint, its calls captured."""
    loaded = policy_of(name)
    return ModelPolicy(loaded.model, loaded.device, loaded.dtype, settings, capturer=graphs)


def doubled(x):
    return 2 * x


class Calls:
    """A function whose calls are captured at once."""

    def __init__(self, capturer, function=doubled, eager=None, **settings):
        self.queue = CaptureQueue(contextlib.nullcontext)
        self.call = GraphedFunction(function, eager or function, capturer, self.queue, **settings)

    def __call__(self, *inputs):
        with self.queue.synchronous():
            return self.call(*inputs)


def test_a_shape_is_captured_once_and_replayed_with_what_comes():
    graphs = FakeGraphs()
    double = Calls(graphs)
    for value in (1.0, 2.0, 3.0):
        assert double(torch.full((3,), value)).tolist() == [2 * value] * 3
    assert graphs.captured == 1
    double(torch.ones(4))
    double(torch.ones(3, dtype=torch.float64))
    assert graphs.captured == 3


def test_answers_and_inputs_are_not_the_captures_memory():
    double = Calls(FakeGraphs())
    given = torch.ones(2)
    double(given)
    first = double(given)
    double(torch.full((2,), 5.0))
    assert first.tolist() == [2.0, 2.0]
    assert given.tolist() == [1.0, 1.0]
    assert double(given).tolist() == [2.0, 2.0], "what comes again need not be copied again"


def test_an_argument_may_be_none():
    add = Calls(FakeGraphs(), lambda x, y: x if y is None else x + y)
    for _ in range(2):
        assert add(torch.ones(1), None).tolist() == [1.0]
        assert add(torch.ones(1), torch.ones(1)).tolist() == [2.0]
        assert add(torch.zeros(1), None).tolist() == [0.0]


def test_the_capture_that_was_not_used_for_longest_goes_first():
    graphs = FakeGraphs()
    double = Calls(graphs, max_captures=2)
    for length in (1, 2, 1, 3, 1):
        double(torch.ones(length))
    assert graphs.captured == 3
    double(torch.ones(2))
    assert graphs.captured == 4


def test_what_cannot_be_captured_is_computed_and_the_log_says_so_once(caplog):
    double = Calls(no_graphs)
    with caplog.at_level(logging.WARNING):
        assert double(torch.ones(2)).tolist() == [2.0, 2.0]
        assert double(torch.ones(3)).tolist() == [2.0] * 3
    assert [record.getMessage() for record in caplog.records] == [
        "CUDA graphs: a capture failed, so calls of new shapes launch each kernel by itself: "
        "operation not permitted when stream is capturing"
    ]


def test_an_error_of_the_call_itself_is_not_hidden():
    def wrong(x):
        raise RuntimeError("shapes do not fit")

    with pytest.raises(RuntimeError, match="shapes do not fit"):
        Calls(FakeGraphs(), wrong)(torch.ones(1))


def test_nobody_waits_for_a_capture():
    """A call that comes first, and those that come while it is captured, are computed at once."""
    tapes, plain = SlowTapes(), []

    def compute(x):
        plain.append(len(x))
        return 2 * x

    queue = CaptureQueue(contextlib.nullcontext)
    double = GraphedFunction(doubled, compute, tapes, queue)
    with queue.call():
        assert double(torch.ones(3)).tolist() == [2.0] * 3
        assert not tapes.began.is_set(), "nothing is captured while a call runs"
    assert tapes.began.wait(60)
    for length in (3, 4, 3):  # this thread goes on while the other one records
        with queue.call():
            assert double(torch.ones(length)).tolist() == [2.0] * length
    assert tapes.captured == 0
    tapes.finish.set()
    assert queue.wait_until_empty(60)
    assert tapes.captured == 2

    computed = len(plain)
    for length in (3, 4):
        with queue.call():
            assert double(torch.full((length,), 3.0)).tolist() == [6.0] * length
    assert len(plain) == computed, "both are replayed"


def test_a_served_model_answers_while_its_calls_are_captured(n1d7):
    """A prompt of another length than what was made ready, and a capture that takes for ever."""
    tapes = SlowTapes()
    tapes.finish.set()
    policy = captured(n1d7.name, tapes)
    policy.warm_up(max_batch=2)
    tapes.finish.clear()
    tapes.began.clear()
    known, captures = policy.synthetic_observation(), tapes.captured
    longer = {n1d7.language_key: [[" ".join(["go"] * 60)]]}
    observation = {**n1d7.observation("one"), "language": longer}
    expected, _ = policy_of(n1d7.name).get_action(observation, {"seed": 1})

    def assert_answered(client):
        answer, _ = client.get_action(observation, {"seed": 1})
        for key, values in expected.items():
            assert largest(answer[key] - values) <= 1e-4 * largest(values), key

    with (
        PolicyServer(policy, host="127.0.0.1", port=0) as server,
        PolicyClient("127.0.0.1", server.port, timeout_ms=60_000) as client,
    ):
        for _ in range(2):
            assert_answered(client)
            assert tapes.began.wait(60)
            client.get_action(known)  # what is captured is replayed meanwhile
        assert tapes.captured == captures, "no capture was waited for"
        tapes.finish.set()
        assert policy.runner.queue.wait_until_empty(60)
        assert tapes.captured == captures + 2
        assert_answered(client)
    assert len(policy.runner.queue) == 0


def test_a_policy_that_is_never_idle_gets_its_captures_all_the_same(monkeypatch):
    monkeypatch.setattr("gr00t_policy_core.models.common.capture_queue.MAX_BUSY_S", 0.05)
    graphs = FakeGraphs()
    queue = CaptureQueue(contextlib.nullcontext)
    double = GraphedFunction(doubled, doubled, graphs, queue)
    with queue.call():
        double(torch.ones(3))
        assert queue.wait_until_empty(60)
        assert graphs.captured == 1


def test_a_client_that_varies_its_shapes_fills_no_memory():
    tapes = SlowTapes()
    queue = CaptureQueue(contextlib.nullcontext)
    double = GraphedFunction(doubled, doubled, tapes, queue)
    for length in range(1, 100):
        assert len(double(torch.ones(length))) == length
    assert len(queue) <= 16
    tapes.finish.set()
    assert queue.wait_until_empty(60)


def test_a_capture_that_breaks_ends_no_thread_and_no_caller(caplog):
    def broken(function, inputs):
        raise ValueError("not a matter of graphs")

    queue = CaptureQueue(contextlib.nullcontext)
    double = GraphedFunction(doubled, doubled, broken, queue)
    for length in (1, 2):
        assert double(torch.ones(length)).tolist() == [2.0] * length
        assert queue.wait_until_empty(60)
    assert "a capture failed; calls of these shapes run without a graph" in caplog.text


def test_the_thread_ends_when_nothing_is_left_to_record():
    queue = CaptureQueue(contextlib.nullcontext)
    GraphedFunction(doubled, doubled, FakeGraphs(), queue)(torch.ones(1))
    assert queue.wait_until_empty(60)
    wait_until(lambda: queue._thread is None)


def test_what_a_capture_reads_outlives_the_cache_that_it_came_from():
    table = torch.full((2,), 7.0)
    memory = table.untyped_storage()._cdata
    with StorageTracker() as tracker:
        x = torch.ones(2)
        (x + table).add_(1.0)
    assert memory in tracker.storages
    assert len(tracker.storages) == 1, "what the function makes itself is not kept"


@pytest.mark.parametrize(
    ("most", "sizes"),
    [(1, (1,)), (2, (1, 2)), (12, (1, 2, 4, 8, 12)), (16, (1, 2, 4, 8, 16))],
)
def test_batches_have_few_sizes(most, sizes):
    assert batch_sizes(most) == sizes


def test_a_batch_that_is_filled_up_gives_the_answers_of_its_rows():
    """Three rows are run as four; a server that joins up to three has that size as well."""
    golden = golden_of("gr00t_n1d7/a")
    graphs = FakeGraphs()
    policy, alone = captured(golden.name, graphs), policy_of(golden.name)
    observation = rows_of(golden.observation("batch"), slice(0, 3))
    assert policy.runner.padded_batch_size(3) == 4
    policy.prepare(observation)
    expected, _ = alone.get_action(observation, {"seed": 3})
    action, _ = policy.get_action(observation, {"seed": 3})
    for key, values in expected.items():
        assert len(action[key]) == 3
        np.testing.assert_allclose(action[key], values, atol=1e-4 * largest(values))
    policy.runner.add_batch_size(3)
    assert policy.runner.padded_batch_size(3) == 3


def test_warming_up_captures_every_size_that_a_server_joins():
    golden = golden_of("gr00t_n1d7/a")
    graphs = FakeGraphs()
    policy = captured(golden.name, graphs)
    policy.warm_up(max_batch=3)
    assert graphs.captured == 2 * len((1, 2, 3))
    for rows in (1, 2, 3):
        policy.get_action(policy.synthetic_observation(rows))
    assert len(policy.runner.queue) == 0


def test_a_replayed_tape_of_a_whole_call_gives_the_references_actions(golden):
    """Captured with other images, states and noise, for one row and for three."""
    tapes = Tapes()
    policy = captured(golden.name, tapes)
    for case in ("one", "batch"):
        other = golden.observation(case)
        for group in ("video", "state"):
            other[group] = {key: values[::-1].copy() for key, values in other[group].items()}
        for values in other["video"].values():
            values[...] = 255 - values
        policy.prepare(other)
        assert_golden(golden, case, policy)
    assert tapes.captured == 4, "one of each function for each shape"


def test_a_captured_call_that_masks_padding_gives_the_references_actions(golden):
    policy = captured(
        golden.name, FakeGraphs(), ExecutionSettings(cuda_graphs=True, mask_padding=True)
    )
    policy.prepare(golden.observation("one"))
    assert_golden(golden, "one", policy)


def test_a_call_that_cannot_be_captured_gives_the_references_actions(golden, caplog):
    policy = captured(golden.name, no_graphs)
    with caplog.at_level(logging.WARNING):
        for case in ("one", "batch"):
            assert_golden(golden, case, policy)
            assert policy.runner.queue.wait_until_empty(60)
    assert len(caplog.records) == 2, "one line for each function"
    assert not policy.active_settings()["cuda_graphs"]


def test_instructions_of_about_the_same_length_share_a_capture(golden):
    graphs = FakeGraphs()
    policy, alone = captured(golden.name, graphs), policy_of(golden.name)
    observation = golden.observation("one")
    lengths, rounded = set(), set()
    for words in (1, 2, 3):
        observation["language"] = {golden.language_key: [[" ".join(["go"] * words)]]}
        texts = policy.preprocessor.instructions(observation)
        grid = policy.preprocessor.image_grid(observation)
        lengths.add(policy.model.backbone.prompts(texts, grid).length)
        rounded.add(policy.runner.token_batch(texts, grid).ids.shape[1])
        expected, _ = alone.get_action(observation, {"seed": 3})
        policy.prepare(observation)
        action, _ = policy.get_action(observation, {"seed": 3})
        for key, values in expected.items():
            np.testing.assert_allclose(action[key], values, atol=1e-4 * largest(values))
    assert len(lengths) == 3
    assert graphs.captured == 2 * len(rounded) < 6


def test_a_captured_call_goes_with_real_time_chunking(n1d7):
    policy, alone = captured(n1d7.name, FakeGraphs()), policy_of(n1d7.name)
    observation = n1d7.observation("one")
    before, _ = alone.get_action(observation, {"seed": 1})
    prefix = {key: values[:, 8:].copy() for key, values in before.items()}
    policy.prepare(observation)
    for frozen in (3, 1):
        rtc = {"prefix": prefix, "frozen_steps": frozen, "ramp_rate": 5.0}
        expected, _ = alone.get_action(observation, {"seed": 2, "rtc": rtc})
        action, _ = policy.get_action(observation, {"seed": 2, "rtc": rtc})
        for key, values in expected.items():
            np.testing.assert_allclose(action[key], values, atol=1e-4 * largest(values))
    assert len(policy.runner.queue) == 0, "the capture without a prefix is good for it, too"


def test_graphs_without_a_gpu_are_refused():
    loaded = policy_of("gr00t_n1d7/a")
    with pytest.raises(SpecError, match="CUDA graphs need a GPU, the device is cpu"):
        ModelPolicy(loaded.model, loaded.device, loaded.dtype, GRAPHS)


def test_warming_up_records_before_a_robot_asks_and_changes_no_answer(golden):
    graphs = FakeGraphs()
    policy, cold = captured(golden.name, graphs), policy_of(golden.name)
    assert policy.warm_up() > 0.0
    assert graphs.captured == 2
    assert gc.get_freeze_count() > 10_000
    before = graphs.captured
    observation = policy.synthetic_observation()
    action, _ = policy.get_action(observation, {"seed": 1})
    expected, _ = cold.get_action(observation, {"seed": 1})
    for key, values in expected.items():
        np.testing.assert_allclose(action[key], values, atol=1e-5 * largest(values))
    assert graphs.captured == before
