# SPDX-License-Identifier: Apache-2.0
"""Our server and client as users get them, with all checks."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from bench import workload
from bench.transports import Ask, Ready, Transport
from bench.workload import HORIZON, PROMPT_KEY, STATE_KEY, Size
from gr00t_policy_core import (
    ActionConfig,
    ModalityConfig,
    ModalityPolicy,
    PolicyClient,
    PolicyServer,
)
from gr00t_policy_core.serving.transport.curve_keys import write_keys

HOST = "127.0.0.1"
ROBOT = "robot"


class FreePolicy(ModalityPolicy):
    """A policy that costs next to nothing; it and its client are strict, the default."""

    def __init__(self, size: Size) -> None:
        super().__init__()
        absolute = ActionConfig("ABSOLUTE", "NON_EEF", "DEFAULT")
        self._configs = {
            "video": ModalityConfig([0], workload.camera_keys(size)),
            "state": ModalityConfig([0], [STATE_KEY]),
            "action": ModalityConfig(list(range(HORIZON)), [STATE_KEY], action_configs=[absolute]),
            "language": ModalityConfig([0], [PROMPT_KEY]),
        }

    def get_modality_config(self) -> dict[str, ModalityConfig]:
        return self._configs

    def _get_action(
        self, observation: dict[str, Any], options: dict[str, Any] | None = None
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        return {STATE_KEY: workload.answer(observation)}, {}


class OursTcp(Transport):
    """PolicyServer and PolicyClient."""

    def serve(self, size: Size, ready: Ready) -> None:
        server = PolicyServer(FreePolicy(size), host=HOST, port=0)
        ready(server.port)
        server.run()

    @contextmanager
    def connect(self, size: Size, address: str) -> Iterator[Ask]:
        with PolicyClient(HOST, int(address)) as client:
            yield asking(client)


class OursIpc(Transport):
    """The same on a Unix socket."""

    def serve(self, size: Size, ready: Ready) -> None:
        with TemporaryDirectory() as folder:
            host = f"ipc://{folder}/policy.sock"
            server = PolicyServer(FreePolicy(size), host=host)
            ready(host)
            server.run()

    @contextmanager
    def connect(self, size: Size, address: str) -> Iterator[Ask]:
        with PolicyClient(address) as client:
            yield asking(client)


class OursCurve(Transport):
    """Over TCP, encrypted."""

    def serve(self, size: Size, ready: Ready) -> None:
        with TemporaryDirectory() as folder:
            write_keys(folder, [ROBOT])
            server = PolicyServer(FreePolicy(size), host=HOST, port=0, keys=folder)
            ready(f"{server.port} {folder}")
            server.run()

    @contextmanager
    def connect(self, size: Size, address: str) -> Iterator[Ask]:
        port, _, folder = address.partition(" ")
        keys = Path(folder)
        with PolicyClient(
            HOST,
            int(port),
            server_key=keys / "server.key",
            keys=keys / f"{ROBOT}.key_secret",
        ) as client:
            yield asking(client)


def asking(client: PolicyClient) -> Ask:
    """What a measurement asks a client."""
    return lambda observation: client.get_action(observation)[0][STATE_KEY]


TCP = OursTcp()
IPC = OursIpc()
CURVE = OursCurve()
