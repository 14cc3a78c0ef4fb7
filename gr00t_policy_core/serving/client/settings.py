# SPDX-License-Identifier: Apache-2.0
"""The settings of a client, checked."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from numbers import Integral, Real
from pathlib import Path
from typing import Any, TypeGuard

import numpy as np

from gr00t_policy_core.errors import SpecError
from gr00t_policy_core.resize import require_opencv
from gr00t_policy_core.serving.transport.addresses import ipc_problems, is_ipc
from gr00t_policy_core.serving.transport.curve_keys import ClientKeys
from gr00t_policy_core.serving.wire import jpeg
from gr00t_policy_core.serving.wire.api_token import token_problems

MAX_TIMEOUT_MS = 24 * 3600 * 1000


@dataclass(frozen=True, slots=True)
class ClientSettings:
    """The settings of a `PolicyClient`, which documents them.

    Args:
        addresses: Host and port of each server, in order of preference.
        timeout_ms: How long each call can take.
        api_token: The servers' token; None or empty for none.
        strict: Check observations and actions against the server's modality configs.
        max_message_bytes: The largest reply that the client receives, in bytes.
        image_encoding: How images travel: ``"raw"`` (uint8 arrays) or ``"jpeg"``.
        quality: Quality of the JPEG, 1 to 100.
        resize: Send images at the size that the policy resizes them to first.

    Raises:
        SpecError: With every setting that is wrong.
        ImportError: A setting needs a package that is not installed.
    """

    addresses: Sequence[tuple[str, int]]
    timeout_ms: float
    api_token: str | None
    strict: bool
    max_message_bytes: int
    image_encoding: str
    quality: int
    resize: bool

    def __post_init__(self) -> None:
        problems = list(self._problems())
        if problems:
            raise SpecError("bad client setting", problems)
        if self.image_encoding == "jpeg":
            jpeg.require()
        if self.resize:
            require_opencv()

    def _problems(self) -> Iterator[str]:
        for host, port in self.addresses:
            yield from _address_problems(host, port)
        yield from _timeout_problems(self.timeout_ms)
        if self.api_token != "":  # an environment variable that is set to nothing
            yield from token_problems(self.api_token)
        if not _is_integer(self.max_message_bytes) or self.max_message_bytes < 1:
            yield f"max_message_bytes must be at least 1, got {self.max_message_bytes!r}"
        if self.image_encoding not in ("raw", "jpeg"):
            yield f"image_encoding must be 'raw' or 'jpeg', got {self.image_encoding!r}"
        if not _is_integer(self.quality) or not 1 <= self.quality <= 100:
            yield f"quality must be 1 to 100, got {self.quality!r}"
        switches: dict[str, object] = {"strict": self.strict, "resize": self.resize}
        for name, value in switches.items():
            if not isinstance(value, (bool, np.bool_)):
                yield f"{name} must be True or False, got {value!r}"


def read_hosts(hosts: Sequence[str], port: int) -> list[tuple[str, int]]:
    """Parse and check the addresses of several servers; see `parse_hosts`.

    Raises:
        SpecError: With every address that is wrong.
    """
    if isinstance(hosts, str) or not hosts or not all(isinstance(h, str) for h in hosts):
        raise SpecError("bad client setting", [f"hosts must be a list of str, got {hosts!r}"])
    try:
        addresses = parse_hosts(hosts, port)
    except ValueError as error:
        raise SpecError("bad client setting", [f"hosts: {error}"]) from None
    problems = [
        f"hosts: {given!r}: {problem}"
        for given, address in zip(hosts, addresses, strict=True)
        for problem in _address_problems(*address)
    ]
    if problems:
        raise SpecError("bad client setting", problems)
    return addresses


def parse_hosts(hosts: Sequence[str], port: int) -> list[tuple[str, int]]:
    """Split ``"host:port"``; the port defaults to `port`. An IPv6 address with one needs brackets.

    Raises:
        ValueError: A port is not a number.
    """
    addresses = []
    for host in hosts:
        name, colon, number = host.rpartition(":")
        if is_ipc(host) or not colon or (":" in name and not name.endswith("]")):
            addresses.append((host, port))
        elif number.isdecimal():
            addresses.append((name, int(number)))
        else:
            raise ValueError(f'{host!r} is neither "host" nor "host:port"')
    return addresses


def read_keys(server_key: str | Path | None, keys: str | Path | None) -> ClientKeys | None:
    """The CURVE keys of a client; None where neither argument is given.

    Raises:
        SpecError: One of the two is missing, or a file holds no key.
    """
    if server_key is None and keys is None:
        return None
    if server_key is None or keys is None:
        missing = "server_key" if server_key is None else "keys"
        raise SpecError("bad client setting", [f"server_key and keys go together, no {missing}"])
    return ClientKeys.load(server_key, keys)


def as_timeout_ms(timeout_ms: Any) -> float:
    """Return a timeout as an int or float.

    Raises:
        SpecError: It is not a number, or out of range.
    """
    if problems := _timeout_problems(timeout_ms):
        raise SpecError("bad client setting", problems)
    return int(timeout_ms) if isinstance(timeout_ms, Integral) else float(timeout_ms)


def _timeout_problems(timeout_ms: Any) -> list[str]:
    is_number = isinstance(timeout_ms, Real) and not isinstance(timeout_ms, bool)
    if is_number and 1 <= timeout_ms <= MAX_TIMEOUT_MS:
        return []
    return [f"timeout_ms must be 1 to {MAX_TIMEOUT_MS} (milliseconds), got {timeout_ms!r}"]


def _address_problems(host: object, port: object) -> list[str]:
    problems = _host_problems(host) if isinstance(host, str) and host else [_bad_host(host)]
    if not _is_integer(port) or not 1 <= port <= 65535:
        problems.append(f"port must be 1 to 65535, got {port!r}")
    return problems


def _host_problems(host: str) -> list[str]:
    if is_ipc(host):
        return ipc_problems(host)
    scheme, is_url, rest = host.partition("://")
    if is_url:
        return [f"host must be given without {scheme}://, as {rest!r}, got {host!r}"]
    name, colon, number = host.rpartition(":")
    if colon and number.isdecimal() and (":" not in name or name.endswith("]")):
        return [f"host must be given without its port, as {name!r} and port={number}, got {host!r}"]
    return [_bad_host(host)] if any(c in host for c in " /*") or not host.isprintable() else []


def _bad_host(host: object) -> str:
    return f"host must be the name or address of a server, got {host!r}"


def _is_integer(value: object) -> TypeGuard[int]:
    """Whether a value is an integer of Python or numpy."""
    return isinstance(value, Integral) and not isinstance(value, bool)
