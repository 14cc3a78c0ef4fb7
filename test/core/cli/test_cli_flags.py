# SPDX-License-Identifier: Apache-2.0
"""Flags that have no effect beside others are a usage error."""

import pytest

from gr00t_policy_core.cli import main, make_parser
from gr00t_policy_core.cli.policy_loader import PolicyLoader


@pytest.mark.parametrize(
    ("flags", "named"),
    [
        (["--dtype", "bfloat16"], "--dtype has no effect: a replay has no model"),
        (["--device", "cuda", "--compile", "default"], "--compile, --device have no effect"),
        (["--embodiment-tag", "gr1"], "--embodiment-tag has no effect"),
        (["--max-batch", "16"], "--max-batch has no effect"),
        (["--denoising-steps", "2"], "--denoising-steps has no effect"),
    ],
)
def test_flags_of_a_model_beside_a_dataset_are_a_usage_error(dataset, capsys, flags, named):
    with pytest.raises(SystemExit, match="2"):
        main(["serve", "--dataset-path", str(dataset), *flags])
    assert named in capsys.readouterr().err


@pytest.mark.parametrize("flag", [["--execution-horizon", "3"], ["--modality-config-path", "x"]])
def test_flags_of_a_replay_beside_a_model_are_a_usage_error(capsys, flag):
    with pytest.raises(SystemExit, match="2"):
        main(["serve", "--model-path", "x", *flag])
    assert f"{flag[0]} has no effect: a model does not replay a dataset" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flags", "named"),
    [
        (["--embodiment-tag", "gr1"], "--embodiment-tag has no effect: there is no --model-path"),
        (["--model-path", "x", "--cameras", "1"], "--cameras has no effect: --model-path is"),
    ],
)
def test_flags_of_bench_that_have_no_effect_are_a_usage_error(capsys, flags, named):
    with pytest.raises(SystemExit, match="2"):
        main(["bench", *flags])
    assert named in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flags", "named"),
    [
        ([], "got none (see"),
        (["--policy", "m:P", "--model-path", "x"], "got --model-path and --policy"),
        (["--policy", "m:P", "--device", "cpu"], "--device has no effect: only with --model-path"),
        (["--policy", "m:P", "--execution-horizon", "3"], "--execution-horizon has no effect"),
        (["--model-path", "x", "--policy-args", "a=1"], "--policy-args has no effect"),
        (["--policy", "no_colon"], "must be MODULE:NAME, such as my_module:MyPolicy"),
        (["--policy", "m:P", "--policy-args", "=1"], "must be NAME=VALUE, got '=1'"),
    ],
)
def test_what_is_served_must_be_one_thing(capsys, flags, named):
    with pytest.raises(SystemExit, match="2"):
        main(["serve", *flags])
    assert named in capsys.readouterr().err


def test_a_number_as_device_is_that_gpu():
    args = make_parser().parse_args(["serve", "--model-path", "x", "--device", "1"])
    assert args.device == "cuda:1"
    assert PolicyLoader.of(args).uses_gpu
