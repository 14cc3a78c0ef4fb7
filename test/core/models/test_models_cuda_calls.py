# SPDX-License-Identifier: Apache-2.0
"""What is asked of CUDA, and in which order: shown with a stand-in, where there is no GPU."""

import contextlib

import numpy as np
import pytest
from models.golden import policy_of, torch

from gr00t_policy_core.models.common.cuda_graphs import WARM_UPS, CudaGraphCapturer
from gr00t_policy_core.models.common.stopwatch import Stopwatch
from gr00t_policy_core.models.common.transfer import copy_to_device, to_device

GPU = torch.device("cuda", 0)


class FakeStream:
    def __init__(self, log, name):
        self.log, self.name = log, name

    def wait_stream(self, other):
        self.log.append(f"{self.name} waits for {other.name}")

    def synchronize(self):
        self.log.append(f"{self.name} is done")


class FakeGraph:
    def __init__(self, log):
        self.log = log
        self.replay = lambda: log.append("replay")

    def capture_begin(self, pool, capture_error_mode):
        self.log.append(f"capture into {pool}, {capture_error_mode}")

    def capture_end(self):
        self.log.append("captured")


class FakeEvent:
    """An event of a queue in which everything takes 10 ms."""

    made = 0

    def __init__(self, enable_timing):
        assert enable_timing

    def record(self):
        FakeEvent.made += 1
        self.time_ms = 10.0 * FakeEvent.made

    def synchronize(self):
        pass

    def elapsed_time(self, end):
        return end.time_ms - self.time_ms


@pytest.fixture
def log(monkeypatch):
    """What happens, in order; `where` is the stream in which things happen."""
    log, where = [], ["main"]

    @contextlib.contextmanager
    def in_stream(stream):
        where.append(stream.name)
        yield
        where.pop()

    names = iter(["warm", "side"])

    cuda = torch.cuda
    monkeypatch.setattr(cuda, "graph_pool_handle", lambda: "the pool")
    monkeypatch.setattr(cuda, "current_stream", lambda device: FakeStream(log, "main"))
    monkeypatch.setattr(cuda, "Stream", lambda device: FakeStream(log, next(names)))
    monkeypatch.setattr(cuda, "stream", in_stream)
    monkeypatch.setattr(cuda, "CUDAGraph", lambda: FakeGraph(log))
    monkeypatch.setattr(cuda, "Event", FakeEvent)
    return log, where


def test_a_call_is_warmed_up_in_a_stream_that_nothing_is_captured_in(log):
    """And neither the whole GPU is waited for nor are the allocators of other threads emptied."""
    happened, where = log

    def function(x):
        happened.append(f"call in {where[-1]}")
        return 2 * x

    graphs = CudaGraphCapturer(GPU)
    recording = graphs(function, [torch.ones(2)])
    recording.replay()

    once = [
        "warm waits for main",
        *["call in warm"] * WARM_UPS,
        "warm is done",
        "capture into the pool, thread_local",
        "call in side",
        "captured",
    ]
    assert happened == [*once, "replay"]
    assert recording.output.tolist() == [2.0, 2.0]
    happened.clear()
    graphs(function, [torch.ones(3)])
    assert happened == once, "another one shares the streams and the memory"


def test_a_capture_that_fails_is_ended(log):
    happened, where = log

    def function(x):
        if where[-1] == "side":
            raise RuntimeError("operation not permitted")
        return x

    with pytest.raises(RuntimeError, match="operation not permitted"):
        CudaGraphCapturer(GPU)(function, [torch.ones(2)])
    assert happened[-1] == "captured"


def test_stages_of_a_gpu_are_timed_in_its_queue_and_the_hosts_by_its_clock(log, monkeypatch):
    now_s = iter([0.0, 1.0, 1.5, 4.0, 4.25, 5.0])
    monkeypatch.setattr("time.perf_counter", lambda: next(now_s))
    watch = Stopwatch(GPU)  # at 0
    watch.lap("images")  # at 1
    watch.device_lap("head")  # started at 1.5
    watch.resume()  # the answer is there at 4
    watch.lap("decode")  # at 4.25
    assert watch.seconds() == pytest.approx(
        {"images": 1.0, "decode": 0.25, "head": 0.010, "total": 5.0}
    )


def test_what_goes_to_a_gpu_goes_through_pinned_memory_without_waiting(monkeypatch):
    calls = []

    class Values:
        device = torch.device("cpu")

        def contiguous(self):
            calls.append("contiguous")
            return self

        def pin_memory(self):
            calls.append("pin")
            return self

        def to(self, device, non_blocking=False):
            calls.append((device, non_blocking))
            return self

    to_device(Values(), GPU)
    assert calls == ["contiguous", "pin", (GPU, True)]


def test_what_is_sent_together_comes_apart_as_it_was():
    rng = np.random.default_rng(0)
    frames = rng.integers(0, 256, (2, 1, 5, 7, 3), dtype=np.uint8)
    frames.setflags(write=False)
    values = [
        frames,
        torch.from_numpy(rng.normal(size=(2, 3))).to(torch.bfloat16),
        frames[:, :, ::2, 1:],
        torch.arange(5),
        torch.zeros(0, 4),
    ]
    sent = copy_to_device(values, torch.device("cpu"))
    for value, got in zip(values, sent, strict=True):
        wanted = value if isinstance(value, torch.Tensor) else torch.from_numpy(value.copy())
        assert got.dtype == wanted.dtype
        assert torch.equal(got, wanted)
        assert got.data_ptr() % 64 == sent[0].data_ptr() % 64


def test_what_is_sent_together_is_one_copy_through_pinned_memory(monkeypatch):
    calls = []
    empty, to = torch.empty, torch.Tensor.to

    def pinned(*shape, pin_memory=False, **options):
        calls.append(("empty", pin_memory))
        return empty(*shape, **options)

    def copied(tensor, device, non_blocking=False):
        calls.append((str(device), non_blocking))
        return to(tensor, "cpu", copy=True)

    monkeypatch.setattr(torch, "empty", pinned)
    monkeypatch.setattr(torch.Tensor, "to", copied)
    copy_to_device([torch.ones(3), np.zeros((2, 2), np.uint8), torch.zeros(4)], GPU)
    assert calls == [("empty", True), ("cuda:0", True)]


def test_the_host_prepares_denoising_after_it_has_launched_the_backbone(n1d7, monkeypatch):
    policy = policy_of(n1d7.name)
    order = []

    def noting(owner, name):
        original = getattr(owner, name)

        def call(*args, **kwargs):
            order.append(name)
            return original(*args, **kwargs)

        monkeypatch.setattr(owner, name, call)

    for name in ("vision_inputs", "denoising_inputs"):
        noting(policy.preprocessor, name)
    for name in ("features", "actions"):
        noting(policy.runner, name)
    policy.get_action(n1d7.observation("one"))
    assert order == ["vision_inputs", "features", "denoising_inputs", "actions"]


def test_many_frames_are_copied_in_parts_each_as_it_was():
    rng = np.random.default_rng(0)
    for rows in (1, 3, 9):
        frames = rng.integers(0, 256, (rows, 1, 480, 2000, 3), dtype=np.uint8)
        (sent,) = copy_to_device([frames], torch.device("cpu"))
        np.testing.assert_array_equal(sent.numpy(), frames)
