# SPDX-License-Identifier: Apache-2.0
"""Who may talk to a server."""

from __future__ import annotations

import hmac
import ipaddress
import logging

from gr00t_policy_core.serving.addresses import is_ipc

logger = logging.getLogger("gr00t_policy_core.serving.server")

IPC_PEER = "localhost:"  # a Unix socket's client, as libzmq names it: "localhost:UID:GID:PID"


def token_matches(expected: str | None, given: object) -> bool:
    """Whether a request's token lets it in, compared in constant time.

    Args:
        expected: The server's token; None lets everyone in.
        given: What the request carries; anything but a str never matches.
    """
    if expected is None:
        return True
    if not isinstance(given, str):
        return False
    return hmac.compare_digest(expected.encode(), given.encode())


def token_problems(token: object) -> list[str]:
    """What is wrong with a token; None is none."""
    if token is None:
        return []
    if not isinstance(token, str) or not token:
        return ["api_token must be a non-empty str, or None for no token"]
    try:
        token.encode()
    except UnicodeEncodeError:  # from an environment or a command line whose bytes are no UTF-8
        return ["api_token must be text in UTF-8, or no request could carry it"]
    return []


def is_loopback(host: str) -> bool:
    """Whether an address is this machine's own: only it can listen or speak there."""
    if is_ipc(host) or host.startswith(IPC_PEER):
        return True
    try:
        address = ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return host == "localhost"
    mapped = getattr(address, "ipv4_mapped", None)  # an IPv4 peer of a socket for both
    return (mapped or address).is_loopback


def machine(peer: str) -> str:
    """Whose connections share what one machine may have.

    Args:
        peer: A network address, or a Unix socket's client.

    Returns:
        An IPv4 address; the first 64 bits of an IPv6 address, since one machine has all that
        begin with them; anything else as it is.
    """
    try:
        address = ipaddress.ip_address(peer.partition("%")[0])
    except ValueError:
        return peer
    if isinstance(address, ipaddress.IPv4Address):
        return str(address)
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(ipaddress.IPv6Network((address, 64), strict=False).network_address)


def announce(address: str, encrypted: bool, is_open: bool) -> None:
    """Log where a server listens and who may come in, loudly where that is anybody."""
    how = "encrypted, for listed clients only" if encrypted else "in plain text"
    logger.info("policy server is listening on %s, %s", address, how)
    if is_open:
        logger.warning(
            "%s is open to the network without a token: whoever reaches it can drive the "
            "policy; set keys or api_token, or host='127.0.0.1'",
            address,
        )
