# SPDX-License-Identifier: Apache-2.0
"""The settings of a client, checked."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral, Real
from pathlib import Path
from typing import Any, TypeGuard

import numpy as np

from gr00t_policy_core.errors import SpecError
from gr00t_policy_core.resize import require_opencv
from gr00t_policy_core.serving.client.failover import parse_hosts
from gr00t_policy_core.serving.transport.addresses import ipc_problems, is_ipc
from gr00t_policy_core.serving.transport.curve_keys import ClientKeys
from gr00t_policy_core.serving.wire import jpeg as images
from gr00t_policy_core.serving.wire.api_token import token_problems

MAX_TIMEOUT_MS = 24 * 3600 * 1000


def read_addresses(hosts: Sequence[str], port: int) -> list[tuple[str, int]]:
    """The addresses of `hosts`, or `SpecError`."""
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


def read_keys(server_key: str | Path | None, keys: str | Path | None) -> ClientKeys | None:
    """The keys of a client of a secured server; None where neither is given, or `SpecError`."""
    if server_key is None and keys is None:
        return None
    if server_key is None or keys is None:
        missing = "server_key" if server_key is None else "keys"
        raise SpecError("bad client setting", [f"server_key and keys go together, no {missing}"])
    return ClientKeys.load(server_key, keys)


def check(
    addresses: Sequence[tuple[object, object]],
    *,
    timeout_ms: object,
    api_token: object,
    strict: object,
    max_message_bytes: object,
    image_encoding: object,
    quality: object,
    resize: object,
) -> None:
    """Raise `SpecError` with everything that is wrong."""
    problems = [problem for address in addresses for problem in _address_problems(*address)]
    problems += _timeout_problems(timeout_ms)
    if api_token != "":  # as an environment that sets none may have it
        problems += token_problems(api_token)
    if not _is_integer(max_message_bytes) or max_message_bytes < 1:
        problems.append(f"max_message_bytes must be at least 1, got {max_message_bytes!r}")
    if image_encoding not in ("raw", "jpeg"):
        problems.append(f"image_encoding must be 'raw' or 'jpeg', got {image_encoding!r}")
    if not _is_integer(quality) or not 1 <= quality <= 100:
        problems.append(f"quality must be 1 to 100, got {quality!r}")
    for name, value in (("strict", strict), ("resize", resize)):
        if not isinstance(value, (bool, np.bool_)):
            problems.append(f"{name} must be True or False, got {value!r}")
    if problems:
        raise SpecError("bad client setting", problems)


def as_timeout_ms(timeout_ms: Any) -> float:
    """A timeout as a plain number, or `SpecError`."""
    if problems := _timeout_problems(timeout_ms):
        raise SpecError("bad client setting", problems)
    return int(timeout_ms) if isinstance(timeout_ms, Integral) else float(timeout_ms)


def require_packages(image_encoding: str, resize: bool) -> None:
    """Raise `ImportError`, naming what to install, where a setting needs what is not there."""
    if image_encoding == "jpeg":
        images.require()
    if resize:
        require_opencv()


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
    """Whether it is an integer of Python's or of numpy's."""
    return isinstance(value, Integral) and not isinstance(value, bool)
