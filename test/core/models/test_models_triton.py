# SPDX-License-Identifier: Apache-2.0
"""The Triton kernels against torch's operators; without a GPU in Triton's interpreter.

On a GPU in bfloat16, in the interpreter in float32: it does not compute with bfloat16.
"""

import os

import pytest
from models.golden import torch

ON_GPU = torch.cuda.is_available()
if not ON_GPU:
    os.environ["TRITON_INTERPRET"] = "1"  # Triton reads it when it is imported
pytest.importorskip("triton", reason="Triton is not installed; CONTRIBUTING.md says how")
F = torch.nn.functional
DEVICE = "cuda" if ON_GPU else "cpu"
DTYPE = torch.bfloat16 if ON_GPU else torch.float32
TOLERANCE = 5e-3 if ON_GPU else 1e-6


@pytest.fixture(scope="module")
def ops():
    from gr00t_policy_core.models.common import triton_ops

    return triton_ops


def values(*shape):
    return torch.randn(*shape).to(DEVICE, DTYPE)


def assert_near(got, expected):
    expected = expected.float()
    assert (got.float() - expected).norm() <= TOLERANCE * expected.norm()


@pytest.mark.parametrize(
    ("rows", "columns", "width"),
    [
        *[(1, 64, 128), (64, 64, 128), (150, 64, 128), (300, 128, 128), (500, 128, 128)],  # square
        *[(41, 512, 256), (3, 128, 1536), (70, 64, 1536)],  # wide; deep, by Triton and by cuBLAS
    ],
)
@pytest.mark.parametrize("bias", [True, False])
def test_a_linear_layer_is_torchs(ops, rows, columns, width, bias):
    torch.manual_seed(0)
    x, weight, residual = values(1, rows, width), values(columns, width), values(1, rows, columns)
    added = values(columns) if bias else None
    expected = F.linear(x.float(), weight.float(), None if added is None else added.float())
    assert_near(ops.launch_linear(x, weight, added, None, False), expected)
    got = ops.launch_linear(x, weight, added, residual, False)
    assert_near(got, expected + residual.float())


def test_gelu_is_the_tanh_approximation(ops):
    torch.manual_seed(0)
    x, weight, bias = values(2, 20, 128), values(192, 128), values(192)
    exact = F.linear(x.float(), weight.float(), bias.float())
    got = ops.launch_linear(x, weight, bias, None, True)
    assert_near(got, F.gelu(exact, approximate="tanh"))


def test_a_product_without_a_kernel_is_left_to_torch(ops):
    assert not ops.has_linear(5000, 1536, 1536)
    assert not ops.has_linear(41, 132, 1024), "the columns are not a multiple of a block's"
    assert not ops.has_linear(41, 1536, 6144, gelu=True), "GELU follows the sum of all parts"
    with pytest.raises(ValueError, match="no kernel for a product of 5000"):
        ops.launch_linear(values(5000, 64), values(64, 64), None, None, False)


@pytest.mark.parametrize("width", [48, 1536])
def test_layer_norm_is_torchs(ops, width):
    torch.manual_seed(0)
    x, weight, bias = 3 + values(2, 5, width), values(width), values(width)
    exact = x.float()
    got = ops.launch_norm(x, weight, bias, 1e-5)
    assert_near(got, F.layer_norm(exact, (width,), weight.float(), bias.float()))
    assert_near(ops.launch_norm(x, None, None, 1e-5), F.layer_norm(exact, (width,)))


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize(
    ("heads", "dim", "queries", "keys"), [(3, 48, 41, 41), (2, 16, 70, 88), (2, 8, 5, 200)]
)
def test_attention_is_torchs_for_views_of_fused_products(ops, heads, dim, queries, keys, masked):
    torch.manual_seed(0)
    batch = 2
    q = values(batch, queries, 3 * heads * dim).unflatten(-1, (3, heads, dim))[:, :, 1]
    _, k, v, _ = values(batch, keys, 4 * heads * dim).unflatten(-1, (4, heads, dim)).unbind(2)
    q, k, v = (part.transpose(1, 2) for part in (q, k, v))
    bias = None
    if masked:
        bias = torch.zeros(batch, 1, 1, keys, dtype=DTYPE, device=DEVICE)
        bias[0, ..., keys // 2 :] = -torch.inf
    exact = None if bias is None else bias.float()
    expected = F.scaled_dot_product_attention(q.float(), k.float(), v.float(), attn_mask=exact)
    got = ops.launch_attention(q, k, v, bias)
    assert_near(got, expected.transpose(1, 2).flatten(2))
