# SPDX-License-Identifier: Apache-2.0
"""Damaged messages against the decoder and a running server: `python -m bench.fuzz SECONDS`.

Where atheris is installed `bench.fuzz_decoder` has the first half of the time. In the other half,
every message starts as a valid request and is damaged by a seeded generator; the seed of a failure
is told. The decoder may only decode, or raise `ProtocolError`; the server must answer each one,
and a ping after it.
"""

from __future__ import annotations

import importlib.util
import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence

import numpy as np
import zmq

from bench import workload
from bench.report import say
from bench.transports import ours
from bench.workload import Size
from gr00t_policy_core import Dialect, MsgSerializer, PolicyServer, ProtocolError
from gr00t_policy_core.serving.wire import jpeg

SIZE = Size(1, 8, 8)
TIMEOUT_MS = 10_000
LENGTHS = (0, 1, 127, 128, 255, 256, 65535, 2**31 - 1, 2**31, 2**32 - 1)


def valid_messages() -> list[bytes]:
    """Requests of both dialects, with and without what ours add."""
    observation = workload.make_observation(SIZE, seed=0)
    data = {"observation": observation, "options": {"deadline_s": 5.0, "x": np.float32(1)}}
    pictures = jpeg.to_jpeg(observation, 90) if jpeg.is_available() else observation
    requests = [
        {"endpoint": "get_action", "data": data},
        {"endpoint": "get_action", "data": {"observation": pictures}},
        {"endpoint": "get_action", "envelope": True, "api_token": "t", "data": observation},
        {"endpoint": "reset", "data": {"options": {"episode_index": 5}}},
        {"endpoint": "get_modality_config"},
        {"endpoint": "metrics", "envelope": True},
        {"endpoint": "ping"},
    ]
    return [MsgSerializer.to_bytes(r, dialect=d) for d in Dialect for r in requests]


def mutate(message: bytes, generator: random.Random) -> bytes:
    """One to four damages: bits, bytes, lengths, cuts, doublings, moves."""
    damaged = bytearray(message)
    for _ in range(generator.randint(1, 4)):
        if not damaged:
            break
        at = generator.randrange(len(damaged))
        kind = generator.randrange(7)
        if kind == 0:
            damaged[at] ^= 1 << generator.randrange(8)
        elif kind == 1:
            damaged[at] = generator.randrange(256)
        elif kind == 2:
            damaged[at : at + 4] = generator.choice(LENGTHS).to_bytes(4, "big")
        elif kind == 3:
            del damaged[at:]
        elif kind == 4:
            del damaged[at : at + generator.randint(1, 16)]
        elif kind == 5:
            damaged[at:at] = damaged[at : at + generator.randint(1, 64)]
        else:
            damaged[at:at] = generator.randbytes(generator.randint(1, 16))
    return bytes(damaged)


def decode(message: bytes) -> str:
    """What the decoder makes of it; anything else that it raises goes up."""
    try:
        MsgSerializer.from_bytes(message)
    except ProtocolError:
        return "refused"
    return "decoded"


def exchange(asking: zmq.Socket[bytes], message: bytes) -> str:
    """What a server makes of it.

    Raises:
        RuntimeError: It does not answer.
    """
    asking.send_multipart([b"", message])
    if not asking.poll(TIMEOUT_MS):
        raise RuntimeError("the server does not answer")
    reply = MsgSerializer.from_bytes(asking.recv_multipart()[-1])
    return "error" if isinstance(reply, dict) and reply.get("status") == "error" else "answered"


def fuzz(seeds: Sequence[int] | range, port: int) -> Counter[str]:
    """Send one damaged message for each seed, and count what became of it.

    Raises:
        RuntimeError: Naming the seed that went wrong.
    """
    messages = valid_messages()
    ping = MsgSerializer.to_bytes({"endpoint": "ping"})
    outcomes: Counter[str] = Counter()
    with zmq.Context() as context, context.socket(zmq.DEALER) as asking:
        asking.setsockopt(zmq.LINGER, 0)
        asking.connect(f"tcp://127.0.0.1:{port}")
        for seed in seeds:
            generator = random.Random(seed)
            message = mutate(generator.choice(messages), generator)
            try:
                outcomes[decode(message)] += 1
                if b"kill" not in message:
                    outcomes[exchange(asking, message)] += 1
                if seed % 100 == 0 and exchange(asking, ping) != "answered":
                    raise RuntimeError("a ping is not answered")
            except Exception as error:
                raise RuntimeError(f"seed {seed}: {error}") from error
    return outcomes


def fuzz_decoder(seconds: float) -> None:
    """Run `bench.fuzz_decoder` in a process of its own, which libFuzzer ends.

    Raises:
        subprocess.CalledProcessError: It found something; what and where it has said itself.
    """
    command = [sys.executable, "-m", "bench.fuzz_decoder", f"{seconds:.0f}"]
    subprocess.run(command, check=True)


def main() -> None:
    ends_at = time.monotonic() + float(sys.argv[1] if len(sys.argv) > 1 else 180)
    if importlib.util.find_spec("atheris") is None:
        say("atheris is not installed: no coverage-guided fuzzing of the decoder")
    else:
        fuzz_decoder((ends_at - time.monotonic()) / 2)
    first = random.SystemRandom().randrange(2**32)
    outcomes: Counter[str] = Counter()
    with PolicyServer(ours.FreePolicy(SIZE), host=ours.HOST, port=0) as server:
        while time.monotonic() < ends_at:
            outcomes += fuzz(range(first, first + 1000), server.port)
            first += 1000
    told = ", ".join(f"{count} {outcome}" for outcome, count in sorted(outcomes.items()))
    say(f"no crash, every message answered: {told}")


if __name__ == "__main__":
    main()
