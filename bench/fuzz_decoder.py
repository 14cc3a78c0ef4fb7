# SPDX-License-Identifier: Apache-2.0
"""Coverage-guided fuzzing of what reads messages: `python -m bench.fuzz_decoder SECONDS`.

atheris (libFuzzer) changes messages, and keeps and changes further those that reach lines of
gr00t_policy_core that none has reached before. It starts from the fixed corpus of the tests. What
it keeps goes to build/fuzz/corpus, where the next run goes on; a message that breaks something to
build/fuzz/crash-….
"""

from __future__ import annotations

import gc
import hashlib
import sys
from collections.abc import Iterable
from pathlib import Path
from types import FunctionType

from bench.fuzz import SIZE, valid_messages
from bench.transports.ours import FreePolicy
from gr00t_policy_core import MsgSerializer, PolicyError
from gr00t_policy_core.modality import check_observation
from gr00t_policy_core.serving.server import batching
from gr00t_policy_core.serving.wire import envelope, jpeg
from gr00t_policy_core.serving.wire.error_text import error_text
from gr00t_policy_core.serving.wire.message_templates import MessageTemplate

REPOSITORY = Path(__file__).resolve().parents[1]
FOLDER = REPOSITORY / "build" / "fuzz"
MAX_BYTES = 4096  # of a message: longer ones are slower, and reach nothing more
HANG_S = 10
MAX_MEMORY_MB = 2048
CONFIGS = FreePolicy(SIZE).get_modality_config()


class UnsoundError(Exception):
    """A message that is read in one way, and in another after it was written again."""


def require_sound(message: bytes) -> None:
    """Do to a message what server and client do before a policy or a robot sees it.

    Raises:
        UnsoundError: As it says.
        Exception: Whatever else but one of the package's own errors, which tell a client what is
            wrong with its message.
    """
    for read in (_read_as_server, _read_as_client):
        try:
            read(message)
        except PolicyError as error:
            MsgSerializer.to_bytes(envelope.failure(error_text(error)))


def _read_as_server(message: bytes) -> None:
    request = envelope.RequestReader().read(memoryview(message))
    if request.data is None:
        return
    data = MsgSerializer.from_bytes(request.data)
    observation = data.get("observation", data) if isinstance(data, dict) else data
    observation = jpeg.from_jpeg(observation)
    batching.layout(observation)
    check_observation(observation, CONFIGS)


def _read_as_client(message: bytes) -> None:
    decoded = MsgSerializer.decode(message)
    envelope.DecodedReply.of(decoded.value)
    try:
        written = MsgSerializer.to_bytes(decoded.value, dialect=decoded.dialect)
        read_again = MsgSerializer.from_bytes(written)
        written_again = MsgSerializer.to_bytes(read_again, dialect=decoded.dialect)
    except PolicyError as error:
        raise UnsoundError(f"read, but not written and read again: {error}") from error
    if written_again != written:
        raise UnsoundError("read otherwise after it was written again")
    template = MessageTemplate.of(memoryview(message))
    if template is None:
        return
    value = template.decode(memoryview(message))
    by_template = MsgSerializer.to_bytes(value, dialect=template.dialect)
    if not template.matches(memoryview(message)) or by_template != written:
        raise UnsoundError("read otherwise by its template")


def fixed_corpus() -> list[bytes]:
    """The messages that the tests hold: valid ones of each kind, and malformed ones."""
    sys.path.insert(0, str(REPOSITORY / "test" / "core"))
    from malformed import MALFORMED

    golden = [path.read_bytes() for path in (REPOSITORY / "test/data/wire").rglob("*.msgpack")]
    malformed = [message for message, _ in MALFORMED.values()]
    return [m for m in [*valid_messages(), *golden, *malformed] if len(m) <= MAX_BYTES]


def write_corpus(folder: Path, corpus: Iterable[bytes]) -> None:
    """One file a message, named as libFuzzer does."""
    folder.mkdir(parents=True, exist_ok=True)
    for message in corpus:
        name = hashlib.sha1(message, usedforsecurity=False).hexdigest()
        (folder / name).write_bytes(message)


def _functions_of(package: str) -> list[FunctionType]:
    """All that are imported so far."""
    functions = [found for found in gc.get_objects() if isinstance(found, FunctionType)]
    return [f for f in functions if (f.__module__ or "").partition(".")[0] == package]


def main() -> None:
    """Does not return: libFuzzer ends the process, with status 0 where nothing broke."""
    import atheris

    seconds = sys.argv[1] if len(sys.argv) > 1 else "60"
    seeds, kept = FOLDER / "seeds", FOLDER / "corpus"
    write_corpus(seeds, fixed_corpus())
    kept.mkdir(exist_ok=True)
    options = [
        f"-max_total_time={seconds}",
        f"-max_len={MAX_BYTES}",
        f"-timeout={HANG_S}",
        f"-rss_limit_mb={MAX_MEMORY_MB}",
        f"-artifact_prefix={FOLDER}/",
        "-verbosity=0",
        "-print_final_stats=1",
    ]
    for function in _functions_of("gr00t_policy_core"):
        atheris.instrument_func(function)
    atheris.Setup([sys.argv[0], *options, str(kept), str(seeds)], require_sound)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
