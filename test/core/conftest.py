# SPDX-License-Identifier: Apache-2.0
"""Servers, clients and messages for the tests of the wire; datasets to replay."""

import contextlib
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgpack
import numpy as np
import pytest
import zmq
from peers.lines import LINES, Line
from peers.stock import StockClient
from scripted_server import Script
from toy_policy import ToyPolicy

from gr00t_policy_core import MsgSerializer, PolicyClient, PolicyServer

sys.path.append(str(Path(__file__).resolve().parents[2]))  # the benchmarks are not installed
WIRE = Path(__file__).resolve().parents[1] / "data" / "wire"


@pytest.hookimpl(tryfirst=True)  # pytest-xdist reads the groups in the same hook
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Side by side, all tests that start Ray run in one process.

    Ray gives each of its processes 30 s to start, which several Rays at once do not on two CPUs.
    """
    for item in items:
        if item.path.name.startswith("test_replicas"):
            item.add_marker(pytest.mark.xdist_group("ray"))


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
def stock(line: Line, server: PolicyServer) -> Iterator[StockClient]:
    """A client of `server` of each line in turn."""
    with StockClient(line, server.port) as connected:
        yield connected


@pytest.fixture
def client(server: PolicyServer) -> Iterator[PolicyClient]:
    """A client of `server`."""
    with PolicyClient("127.0.0.1", server.port, timeout_ms=10_000) as connected:
        yield connected


@pytest.fixture
def scripted() -> Iterator[Callable[..., int]]:
    """Makes servers of plain sockets: the first client gets the first script, and so on."""
    with contextlib.ExitStack() as ending:

        def make(*scripts: Script) -> int:
            listener = ending.enter_context(socket.create_server(("127.0.0.1", 0)))

            def serve() -> None:
                for script in scripts:
                    with contextlib.suppress(OSError), listener.accept()[0] as connection:
                        connection.settimeout(10)
                        script(connection)

            thread = threading.Thread(target=serve, daemon=True)
            thread.start()
            ending.callback(thread.join, 10)
            ending.callback(listener.shutdown, socket.SHUT_RDWR)  # nobody else is waited for
            return int(listener.getsockname()[1])

        yield make


@pytest.fixture(params=["v2.1", "v3.0"])
def dataset(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A LeRobot dataset of episodes of `replays.LENGTHS`, of each layout in turn."""
    from replays import write_episodes  # skips where pyarrow is missing

    return write_episodes(tmp_path / "dataset", request.param)


@pytest.fixture
def v2_dataset(tmp_path: Path) -> Path:
    """The same of layout v2.1 only."""
    from replays import write_episodes

    return write_episodes(tmp_path / "dataset", "v2.1")


@pytest.fixture
def sockets() -> Iterator[zmq.Context]:
    """For sockets that a test makes by hand; closed after it."""
    context = zmq.Context()
    yield context
    # Not waited for: where many CURVE handshakes were refused, libzmq 4.3.5 may never end.
    threading.Thread(target=context.destroy, args=(0,), daemon=True).start()


@pytest.fixture
def ask(sockets: zmq.Context) -> Callable[..., Any]:
    """One request from a fresh socket, decoded without our code: ``ask(server, {...})``."""

    def send(server: PolicyServer, *frames: Any) -> Any:
        asking = sockets.socket(zmq.REQ)
        asking.connect(f"tcp://127.0.0.1:{server.port}")
        packed = [f if isinstance(f, bytes) else MsgSerializer.to_bytes(f) for f in frames]
        asking.send_multipart(packed)
        assert asking.poll(10_000), "no reply"
        return msgpack.unpackb(asking.recv())

    return send
