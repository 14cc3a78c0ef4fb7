# SPDX-License-Identifier: Apache-2.0
"""A command line that is wrong: one line says what, and whose help to read."""

import argparse

import pytest

from gr00t_policy_core.cli import main
from gr00t_policy_core.cli.common import namespace


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], "COMMAND"),
        (["dance"], "dance"),
        (["serve"], "--dataset-path"),
        (
            ["serve", "--dataset-path", "a", "--model-path", "b"],
            "got --model-path and --dataset-path",
        ),
        (["serve", "--dataset-path", "a", "--execution-horizon", "0"], "at least 1"),
        (["serve", "--dataset-path", "a", "--port", "65536"], "0 to 65535"),
        (["serve", "--dataset-path", "a", "--port", "http"], "integer"),
        (["serve", "--dataset-path", "a", "--embodiment-tag", " "], "empty"),
        (["serve", "--dataset-path", "a", "--reply-format", "json"], "envelope"),
        (["ping", "--timeout-ms", "-5"], "at least 1"),
        (["serve", "--model-path", "a", "--camera-size", "640"], "for example 480x640, got '640'"),
        (["serve", "--model-path", "a", "--camera-size", "0x640"], "got '0x640'"),
        (["bench", "--camera-size", "480X640"], "got '480X640'"),
        (["serve", "--dataset-path", "a", "--camera-size", "480x640"], "--camera-size has no eff"),
    ],
)
def test_wrong_usage_is_one_line_and_status_2(arguments, expected, capsys):
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert expected in line


@pytest.mark.parametrize(
    ("arguments", "named", "whose"),
    [
        (["serve", "--dataset-path", "a", "--hsot", "x"], "--hsot x", "gr00t-policy serve"),
        (["serve", "extra"], "extra", "gr00t-policy serve"),
        (["ping", "--hsot=x"], "--hsot=x", "gr00t-policy ping"),
        (["keys", "folder", "--cleint", "me"], "--cleint me", "gr00t-policy keys"),
        (["--verison", "ping"], "--verison", "gr00t-policy"),
    ],
)
def test_what_a_command_does_not_know_points_to_its_own_help(arguments, named, whose, capsys):
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    expected = f"{whose}: unrecognized arguments: {named} (see {whose} --help)"
    assert capsys.readouterr().err == f"{expected}\n"


@pytest.mark.parametrize("text", ["", "/", "robot1", "/robot1", "/left/arm_2", "a__b"])
def test_a_namespace_is_taken_as_it_is(text):
    assert namespace(text) == text


@pytest.mark.parametrize("text", ["bad name", "/1robot", "a//b", "/robot1/", "/a-b", "ä"])
def test_a_namespace_that_ros_refuses_is_refused_before_anything_starts(text):
    with pytest.raises(argparse.ArgumentTypeError, match="must be names of letters"):
        namespace(text)
