# SPDX-License-Identifier: Apache-2.0
"""The two forms of a reply, and the texts of errors in replies and in the log."""

import logging

import numpy as np
import pytest
from server_rig import RUNNING, serving, wait_until
from toy_policy import ToyPolicy

from gr00t_policy_core import PolicyServer, SpecError


def test_a_client_that_asks_for_the_envelope_gets_it(server, ask):
    reply = ask(server, {"endpoint": "ping", "envelope": True})
    assert reply["status"] == "success"
    assert RUNNING.items() <= reply["data"].items()


@pytest.mark.parametrize("asked", [False, None, 1, "true", [True]])
def test_only_true_asks_for_the_envelope(server, ask, asked):
    assert ask(server, {"endpoint": "ping", "envelope": asked}) == RUNNING


@pytest.mark.parametrize("envelope", [True, False])
@pytest.mark.parametrize(
    ("form", "reply"),
    [("envelope", {"status": "success", "data": {"options": 1}}), ("bare", {"options": 1})],
)
def test_one_form_can_be_forced_for_every_client(ask, form, reply, envelope):
    with serving(reply_format=form) as server:
        request = {"endpoint": "reset", "envelope": envelope, "data": {"options": 1}}
        answer = ask(server, request)
        assert ("run" in answer) is (form == "envelope" and envelope)
        assert {key: answer[key] for key in answer if key != "run"} == reply
        error = ask(server, {"endpoint": "nope", "envelope": envelope})
        assert error.keys() == {"status", "error"}
        assert error["status"] == "error"


def test_an_unknown_form_is_refused():
    with pytest.raises(SpecError, match="reply_format must be one of"):
        PolicyServer(ToyPolicy(), port=0, reply_format="xml")


def test_failures_are_logged_without_the_payload(server, client, caplog):
    caplog.set_level(logging.DEBUG)
    secret = "a text that nobody else may read"
    server.register_endpoint("fails", lambda text, image: 1 / 0)
    reply = client.send_request("fails", {"text": secret, "image": np.full(100, 7)})
    assert reply == {"status": "error", "error": "ZeroDivisionError: division by zero"}
    client.send_request("nope", {"text": secret})
    client.send_request("get_action", {"text": secret})
    wait_until(lambda: "Unknown endpoint" in caplog.text)
    assert "fails from 127.0.0.1 failed: ZeroDivisionError" in caplog.text
    assert secret not in caplog.text
    assert "7 7 7" not in caplog.text


def test_errors_tell_clients_no_paths_and_no_tracebacks(server, client):
    def read_file():
        with open("/nonexistent/private/file") as file:
            return file.read()

    server.register_endpoint("reads", read_file, requires_input=False)
    reply = client.send_request("reads")
    assert reply["error"] == "FileNotFoundError: No such file or directory"
