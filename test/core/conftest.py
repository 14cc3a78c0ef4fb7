# SPDX-License-Identifier: Apache-2.0
"""Servers, clients and messages for the tests of the wire."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import zmq
from peers.lines import LINES, Line
from toy_policy import ToyPolicy

from gr00t_policy_core import PolicyClient, PolicyServer

WIRE = Path(__file__).resolve().parents[1] / "data" / "wire"


@pytest.fixture(params=sorted(LINES))
def line(request: pytest.FixtureRequest) -> Line:
    """Each line of Isaac-GR00T in turn, by rules of its own."""
    return LINES[request.param]()


@pytest.fixture
def golden() -> Callable[[str, str], bytes]:
    """Bytes that Isaac-GR00T wrote: ``golden("n1d6", "ping_request")``."""
    return lambda dialect, name: (WIRE / dialect / f"{name}.msgpack").read_bytes()


@pytest.fixture
def golden_arrays() -> dict[str, np.ndarray]:
    """The arrays that the golden messages carry, by ``video/front`` and the like."""
    with np.load(WIRE / "arrays.npz") as archive:
        return dict(archive)


@pytest.fixture
def server() -> Iterator[PolicyServer]:
    """A running server of a `ToyPolicy`."""
    with PolicyServer(ToyPolicy(), host="127.0.0.1", port=0) as running:
        yield running


@pytest.fixture
def client(server: PolicyServer) -> Iterator[PolicyClient]:
    """A client of `server`."""
    with PolicyClient("127.0.0.1", server.port, timeout_ms=10_000) as connected:
        yield connected


@pytest.fixture
def sockets() -> Iterator[zmq.Context]:
    """For sockets that a test makes by hand; closed after it."""
    context = zmq.Context()
    yield context
    context.destroy(linger=0)


def wait_until(condition: Callable[[], bool], timeout_s: float = 10.0) -> None:
    """Wait for a condition, and fail where it does not come."""
    ends_at = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > ends_at:
            pytest.fail(f"not within {timeout_s} s: {condition}")
        time.sleep(0.005)
