# SPDX-License-Identifier: Apache-2.0
"""Compiled networks: each function in one piece, and the same numbers."""

import logging
import shutil

import pytest
from models.golden import assert_golden, policy_of, torch

from gr00t_policy_core.cli import model_flags
from gr00t_policy_core.models.common.compiled import MODES, CompiledFunction, cache_folder
from gr00t_policy_core.models.common.compiled import compiled as compile_function
from gr00t_policy_core.models.common.devices import DTYPES
from gr00t_policy_core.models.common.execution_settings import ExecutionSettings
from gr00t_policy_core.models.model_policy import ModelPolicy

SETTINGS = ExecutionSettings(compile="default")


@pytest.fixture
def compilations(monkeypatch):
    """The graphs that torch.compile is given; they are run as they are, which takes no compiler."""
    torch.compiler.reset()
    compile_with, graphs = torch.compile, []

    def backend(graph, inputs):
        graphs.append(graph)
        return graph.forward

    def compile_without(function, *, mode, dynamic, fullgraph):
        assert mode in ("default", "max-autotune-no-cudagraphs")
        assert fullgraph, "what falls into pieces is slow, and nobody notices"
        return compile_with(function, backend=backend, dynamic=dynamic, fullgraph=True)

    monkeypatch.setattr(torch, "compile", compile_without)
    yield graphs
    torch.compiler.reset()


def compiled(name):
    loaded = policy_of(name)
    return ModelPolicy(loaded.model, loaded.device, loaded.dtype, SETTINGS)


def test_each_function_is_one_graph_that_gives_the_references_actions(golden, compilations):
    policy = compiled(golden.name)
    for _ in range(2):
        assert_golden(golden, "one", policy)
    assert len(compilations) == 3, "the backbone, what is prepared for denoising, and a step of it"
    assert_golden(golden, "batch", policy)
    assert len(compilations) == 6


@pytest.mark.skipif(shutil.which("c++") is None, reason="torch.compile needs a C++ compiler")
def test_what_inductor_makes_of_them_gives_the_references_actions(n1d7):
    torch.compiler.reset()
    assert_golden(n1d7, "one", compiled(n1d7.name))


@pytest.mark.skipif(shutil.which("c++") is None, reason="torch.compile needs a C++ compiler")
def test_what_was_compiled_is_found_again_after_the_next_start(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    counters = torch._dynamo.utils.counters
    for start in (0, 1):
        torch.compiler.reset()
        before = counters["inductor"]["fxgraph_cache_hit"]
        with torch.inference_mode():
            compile_function(lambda x: 3 * x.cos() + x.sin(), "default")(torch.ones(7))
        assert counters["inductor"]["fxgraph_cache_hit"] - before == start
    assert any(tmp_path.rglob("*.so"))
    torch.compiler.reset()


def test_compiled_code_is_kept_in_the_users_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", "")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "gr00t_policy" / "inductor"
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "mine"))
    assert cache_folder() == tmp_path / "mine"


def test_only_the_first_shapes_are_compiled(caplog):
    double = CompiledFunction(lambda x: 2 * x, lambda x: x + x + 0.5, most=2)
    with caplog.at_level(logging.WARNING):
        answers = [double(torch.ones(length))[0].item() for length in (1, 2, 3, 1, 4, 2)]
    assert answers == [2.0, 2.0, 2.5, 2.0, 2.5, 2.0]
    assert [record.getMessage() for record in caplog.records] == [
        "2 sets of input shapes are compiled; calls of other shapes run eagerly"
    ]


def test_the_command_line_knows_the_same_names():
    assert set(model_flags.COMPILE_MODES) == set(MODES)
    assert set(model_flags.DTYPES) == set(DTYPES)
