# SPDX-License-Identifier: Apache-2.0
"""`gr00t-policy bench` prints how long each stage takes, and says what it measured."""

import json
import re

import pytest
from models.golden import golden_of, torch

from gr00t_policy_core.cli import main
from gr00t_policy_core.models.common.operator_count import OperatorCount

STAGES = ["prompts", "images", "backbone", "state", "head", "decode", "total"]
FEW = ["--device", "cpu", "--runs", "2", "--warm-up", "1"]


def tables(output: str) -> dict[int, list[str]]:
    """The stages that a table names, by batch size."""
    found: dict[int, list[str]] = {}
    for block in output.split("\n\n")[1:]:
        title, header, *rows, first = block.strip().splitlines()
        batch = re.fullmatch(
            r"batch (\d+), cameras (\d+x\d+) \((\d+) tokens per image\), 2 runs", title
        )
        assert batch
        assert header.split() == ["stage", "p50", "ms", "p99", "ms", "operators"]
        stages = [re.fullmatch(r"(\w+) +\d+\.\d\d +\d+\.\d\d( +\d+)?", row) for row in rows]
        found[int(batch[1])] = [stage[1] for stage in stages if stage]
        assert [stage[1] for stage in stages if stage and stage[2]] == ["backbone", "head"]
        assert re.fullmatch(r"ready after \d+\.\d\d s", first)
    return found


@pytest.mark.parametrize("model", ["n1d7", "n1d6"])
def test_a_model_with_random_weights_is_small_on_a_cpu_and_says_so(model, capsys):
    assert main(["bench", "--model", model, "--batch", "1", "2", "--cameras", "2", *FEW]) == 0
    output = capsys.readouterr().out
    assert f"{model} with random weights in a SMALL shape" in output
    assert "2 camera(s)" in output
    assert re.search(
        r"^device CPU, dtype float32, torch \d.*transformers \d.*cpu_threads \d", output, re.M
    )
    assert tables(output) == {1: STAGES, 2: STAGES}


def test_a_checkpoint_can_be_measured_and_the_report_be_kept(capsys, tmp_path):
    golden, file = golden_of("gr00t_n1d7/b"), tmp_path / "report.json"
    paths = ["--model-path", str(golden.checkpoint), "--backbone-path", str(golden.backbone)]
    flags = ["--mask-padding", "--json", str(file)]
    assert main(["bench", *paths, "--embodiment-tag", golden.tag, *flags, *FEW]) == 0
    output = capsys.readouterr().out
    assert f"{golden.checkpoint}, {golden.tag}" in output
    assert (
        "device cpu, dtype float32, float8_layers 0, mask_padding True, cuda_graphs False, "
        "compile None, device_images False" in output.splitlines()
    )
    assert tables(output) == {1: STAGES}

    report = json.loads(file.read_text("utf-8"))
    assert report["what"] == f"{golden.checkpoint}, {golden.tag}"
    assert report["environment"]["torch"] == torch.__version__
    assert report["options"] == {
        "device": "cpu",
        "dtype": "float32",
        "float8_layers": 0,
        "mask_padding": True,
        "cuda_graphs": False,
        "compile": None,
        "device_images": False,
    }
    (batch,) = report["batches"]
    assert (batch["batch"], batch["runs"]) == (1, 2)
    assert list(batch["stages"]) == STAGES
    for times in batch["stages"].values():
        assert 0.0 <= times["p50_ms"] <= times["p99_ms"]
    assert batch["ready_s"] > 0.0
    assert 0 < batch["operators"]["backbone"] < batch["operators"]["head"]


def test_a_profile_names_the_operators_of_each_stage_and_what_they_move(capsys, tmp_path):
    file = tmp_path / "report.json"
    assert main(["bench", "--profile", "--json", str(file), *FEW]) == 0
    output = capsys.readouterr().out
    (batch,) = json.loads(file.read_text("utf-8"))["batches"]
    backbone, head = batch["profile"]
    assert (backbone["stage"], head["stage"]) == ("backbone", "head")
    for stage in (backbone, head):
        assert f"\n{stage['stage']}: {stage['wall_ms']:.2f} ms" in output
        names = [kernel["name"] for kernel in stage["kernels"]]
        assert "aten::addmm" in names
        assert f"\n{names[0][:60]} " in output
        assert 0.0 < stage["busy_ms"] == pytest.approx(sum(k["time_ms"] for k in stage["kernels"]))
        assert stage["moved_bytes"] > stage["weight_bytes"] > 0
    # 128 · 4 · 128 values of float32 twice in a block's feed-forward alone
    assert head["weight_bytes"] > 8 * 2 * 4 * 128 * 4 * 128


def test_an_unknown_model_is_one_line_and_status_1(capsys):
    assert main(["bench", "--model", "n9", *FEW]) == 1
    assert "must be one of ['n1d6', 'n1d7'], got 'n9'" in capsys.readouterr().err


def test_a_report_that_cannot_be_written_is_refused_before_anything_is_measured(tmp_path, capsys):
    file = tmp_path / "nowhere" / "report.json"
    assert main(["bench", "--json", str(file), *FEW]) == 1
    output = capsys.readouterr()
    assert output.err.endswith(f"{file.parent} is not a folder\n")
    assert output.out == ""


def test_what_only_looks_at_memory_is_no_operator_that_counts():
    x, y = torch.ones(2, 3), torch.ones(3, 2)
    with torch.inference_mode(), OperatorCount() as count:
        x.transpose(0, 1).unflatten(0, (3, 1)).flatten(0, 1)[1:]
        x.to(torch.float32)
        x.contiguous()
        torch.empty(3)
    assert count.total == 0
    with torch.inference_mode(), OperatorCount() as count:
        x @ y
        x.add_(1.0)
        x.transpose(0, 1).reshape(6)
        x.to(torch.float64)
    assert count.total == 4


@pytest.mark.parametrize(
    ("model", "most"),
    [("n1d7", {"backbone": 141, "head": 400}), ("n1d6", {"backbone": 127, "head": 380})],
)
def test_a_call_starts_no_more_than_it_must(model, most, capsys, tmp_path):
    """Of the small shape: a change that makes a GPU start more shows here first."""
    file = tmp_path / "report.json"
    assert main(["bench", "--model", model, "--json", str(file), *FEW]) == 0
    (batch,) = json.loads(file.read_text("utf-8"))["batches"]
    for stage, limit in most.items():
        assert batch["operators"][stage] <= limit, stage


def test_the_cameras_of_a_robot_can_be_measured(capsys, tmp_path):
    file = tmp_path / "report.json"
    sizes = ["--camera-size", "480x640", "--camera-size", "720x1280"]
    assert main(["bench", *sizes, "--json", str(file), *FEW]) == 0
    output = capsys.readouterr().out
    assert "batch 1, cameras 480x640 (88 tokens per image), 2 runs" in output
    assert "batch 1, cameras 720x1280 (112 tokens per image), 2 runs" in output
    first, second = json.loads(file.read_text("utf-8"))["batches"]
    assert (first["camera_size"], first["image_tokens"]) == ([480, 640], 88)
    assert (second["camera_size"], second["image_tokens"]) == ([720, 1280], 112)
