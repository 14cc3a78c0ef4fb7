# SPDX-License-Identifier: Apache-2.0
"""What is asked of CUDA, and in which order: shown with a stand-in, where there is no GPU."""

import contextlib

import pytest
from models.golden import torch

from gr00t_policy_core.models.common.graphs import WARM_UPS, CudaGraphs
from gr00t_policy_core.models.common.timing import Stopwatch
from gr00t_policy_core.models.common.transfer import to_device

GPU = torch.device("cuda", 0)


class FakeStream:
    def __init__(self, log, name):
        self.log, self.name = log, name

    def wait_stream(self, other):
        self.log.append(f"{self.name} waits for {other.name}")


class FakeGraph:
    def __init__(self, log):
        self.replay = lambda: log.append("replay")


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

    @contextlib.contextmanager
    def capture(graph, *, pool, stream, capture_error_mode):
        log.append(f"capture into {pool}, {capture_error_mode}")
        with in_stream(stream):
            yield
        log.append("captured")

    cuda = torch.cuda
    monkeypatch.setattr(cuda, "graph_pool_handle", lambda: "the pool")
    monkeypatch.setattr(cuda, "current_stream", lambda device: FakeStream(log, "main"))
    monkeypatch.setattr(cuda, "Stream", lambda device: FakeStream(log, "side"))
    monkeypatch.setattr(cuda, "stream", in_stream)
    monkeypatch.setattr(cuda, "synchronize", lambda device: log.append("synchronize"))
    monkeypatch.setattr(cuda, "CUDAGraph", lambda: FakeGraph(log))
    monkeypatch.setattr(cuda, "graph", capture)
    monkeypatch.setattr(cuda, "Event", FakeEvent)
    return log, where


def test_a_call_is_warmed_up_beside_the_main_queue_and_then_captured(log):
    happened, where = log

    def function(x):
        happened.append(f"call in {where[-1]}")
        return 2 * x

    recording = CudaGraphs(GPU)(function, [torch.ones(2)])
    recording.replay()

    assert happened == [
        "side waits for main",
        *["call in side"] * WARM_UPS,
        "main waits for side",
        "synchronize",
        "capture into the pool, thread_local",
        "call in side",
        "captured",
        "replay",
    ]
    assert recording.output.tolist() == [2.0, 2.0]


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
