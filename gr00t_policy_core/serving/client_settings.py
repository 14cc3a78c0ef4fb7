# SPDX-License-Identifier: Apache-2.0
"""The settings of a client, checked."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from gr00t_policy_core.errors import SpecError
from gr00t_policy_core.resize import require_opencv
from gr00t_policy_core.serving import images
from gr00t_policy_core.serving.addresses import ipc_problems, is_ipc
from gr00t_policy_core.serving.curve import ClientKeys
from gr00t_policy_core.serving.failover import parse_hosts

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
    timeout_ms: object,
    image_encoding: object,
    quality: object,
) -> None:
    """Raise `SpecError` with everything that is wrong."""
    problems = [problem for address in addresses for problem in _address_problems(*address)]
    if not isinstance(timeout_ms, (int, float)) or not 0 < timeout_ms <= MAX_TIMEOUT_MS:
        problems.append(f"timeout_ms must be 1 to {MAX_TIMEOUT_MS}, got {timeout_ms!r}")
    if image_encoding not in ("raw", "jpeg"):
        problems.append(f"image_encoding must be 'raw' or 'jpeg', got {image_encoding!r}")
    if type(quality) is not int or not 1 <= quality <= 100:
        problems.append(f"quality must be 1 to 100, got {quality!r}")
    if problems:
        raise SpecError("bad client setting", problems)


def require_packages(image_encoding: str, resize: bool) -> None:
    """Raise `ImportError`, naming what to install, where a setting needs what is not there."""
    if image_encoding == "jpeg":
        images.require()
    if resize:
        require_opencv()


def _address_problems(host: object, port: object) -> list[str]:
    problems = []
    if isinstance(host, str) and is_ipc(host):
        problems += ipc_problems(host)
    elif not isinstance(host, str) or not host or any(c in host for c in " /*"):
        problems.append(f"host must be the name or address of a server, got {host!r}")
    if type(port) is not int or not 1 <= port <= 65535:
        problems.append(f"port must be 1 to 65535, got {port!r}")
    return problems
