# SPDX-License-Identifier: Apache-2.0
"""Error texts: without paths for clients, and never with what could control a terminal."""

from pathlib import Path

import pytest

from gr00t_policy_core import PolicyError, PolicyServer, SpecError
from gr00t_policy_core.errors import AddressError, CheckpointError, DatasetError
from gr00t_policy_core.serving.wire.error_text import MAX_ERROR_CHARS, error_text, log_text


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (ValueError("bad /home/ann/ckpt/config.json here"), "ValueError: bad …/config.json here"),
        (RuntimeError("in '/home/my user/x y/z.bin': no"), "RuntimeError: in '…/z.bin': no"),
        (RuntimeError('file="/srv/a/b.safetensors"'), 'RuntimeError: file="…/b.safetensors"'),
        (ValueError("at:/srv/models/a.pt, (/srv/models/b.pt)"), "ValueError: at:…/a.pt, (…/b.pt)"),
        (ValueError("~/secret/x ~ann/y/z ./a/b ../c/d"), "ValueError: …/x …/z …/b …/d"),
        (ValueError("file:///srv/models/x.bin"), "ValueError: …/x.bin"),
        (KeyError("/srv/models/x"), "KeyError: '…/x'"),
        (FileNotFoundError(2, "No such file", "/srv/x/y"), "FileNotFoundError: No such file"),
        (FileNotFoundError("/srv/models/y.bin"), "FileNotFoundError: failed"),
        (OSError(5, 7), "OSError: 7"),
        (DatasetError(Path("data/set/info.json"), "is missing"), "…/info.json: is missing"),
        (CheckpointError(Path("/a/b c/d.json"), "is damaged"), "…/d.json: is damaged"),
        (PolicyError("no room in /var/lib/gr00t/cache"), "no room in …/cache"),
        (
            ValueError("3 m/s and/or 1/2, /joint_states, https://huggingface.co/nvidia/x"),
            "ValueError: 3 m/s and/or 1/2, /joint_states, https://huggingface.co/nvidia/x",
        ),
    ],
)
def test_a_client_is_told_no_path(error, told):
    assert error_text(error) == told


def test_the_log_keeps_paths_for_whoever_runs_the_server():
    error = FileNotFoundError(2, "No such file", "/srv/x/y")
    assert log_text(error) == "FileNotFoundError: [Errno 2] No such file: '/srv/x/y'"
    assert log_text(ValueError("bad /srv/x/y")) == "ValueError: bad /srv/x/y"


@pytest.mark.parametrize(
    "text", ["\x1b[2J", "a\r\nb", "\x9b31m", "\u202egnirts", "\udcff", "\x07\x08\t"]
)
@pytest.mark.parametrize(
    "kind", [ValueError, PolicyError, AddressError, lambda t: SpecError("x", [t])]
)
def test_nothing_that_is_not_printable_is_said(text, kind):
    error = kind(text)
    assert error_text(error).isprintable()
    assert log_text(error).isprintable()
    if isinstance(error, PolicyError):
        assert str(error).isprintable()


@pytest.mark.parametrize(
    "text", ["/" * 10**6, "'/a" * 10**6, "a/" * 10**6, "/a" * 10**6, "~/" * 10**6]
)
def test_a_text_without_end_is_cut(text):
    assert len(error_text(ValueError(text))) <= MAX_ERROR_CHARS


def test_an_error_that_has_no_text_is_named():
    class Silent(BaseException):
        def __str__(self):
            raise KeyboardInterrupt

    assert error_text(Silent()) == "Silent: unprintable (KeyboardInterrupt)"
    assert error_text(ValueError()) == "ValueError"


def test_a_server_refuses_a_token_that_no_request_could_carry():
    with pytest.raises(SpecError, match="api_token must be text in UTF-8"):
        PolicyServer(dict, host="127.0.0.1", port=0, api_token="caf\udce9")
