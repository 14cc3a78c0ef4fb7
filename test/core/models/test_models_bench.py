# SPDX-License-Identifier: Apache-2.0
"""`gr00t-policy bench` prints how long each stage takes, and says what it measured."""

import re

import pytest
from golden import golden_of

from gr00t_policy_core.cli import main

STAGES = ["images", "prompts", "state", "backbone", "condition", "sample", "decode", "total"]
FEW = ["--device", "cpu", "--runs", "2", "--warm-up", "1"]


def tables(output: str) -> dict[int, list[str]]:
    """The stages that a table names, by batch size."""
    found: dict[int, list[str]] = {}
    for block in output.split("\n\n")[1:]:
        title, header, *rows = block.strip().splitlines()
        batch = re.fullmatch(r"batch (\d+), 2 runs", title)
        assert batch
        assert header.split() == ["stage", "p50", "ms", "p99", "ms"]
        stages = [re.fullmatch(r"(\w+) +\d+\.\d\d +\d+\.\d\d", row) for row in rows]
        found[int(batch[1])] = [stage[1] for stage in stages if stage]
    return found


@pytest.mark.parametrize("model", ["n1d7", "n1d6"])
def test_a_model_with_random_weights_is_small_on_a_cpu_and_says_so(model, capsys):
    assert main(["bench", "--model", model, "--batch", "1", "2", "--cameras", "2", *FEW]) == 0
    output = capsys.readouterr().out
    assert f"{model} with random weights in a SMALL shape" in output
    assert "2 camera(s)" in output
    assert re.search(r"^CPU, float32, torch \d.*transformers \d.*\d CPU threads$", output, re.M)
    assert tables(output) == {1: STAGES, 2: STAGES}


def test_a_checkpoint_can_be_measured(capsys):
    golden = golden_of("gr00t_n1d7/b")
    paths = ["--model-path", str(golden.checkpoint), "--backbone-path", str(golden.backbone)]
    assert main(["bench", *paths, "--embodiment-tag", golden.tag, *FEW]) == 0
    output = capsys.readouterr().out
    assert f"{golden.checkpoint}, {golden.tag}" in output
    assert tables(output) == {1: STAGES}


def test_an_unknown_model_is_one_line_and_status_1(capsys):
    assert main(["bench", "--model", "n9", *FEW]) == 1
    assert "must be one of ['n1d6', 'n1d7'], got 'n9'" in capsys.readouterr().err
