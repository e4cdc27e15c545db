"""Products of bfloat16 numbers by float32 kernels, against exact sums, and where they are used."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from cimlab.training.bfloat16 import ProductsInFloat32, products_in_float32

BF16 = torch.bfloat16


def rounded_sum(terms: np.ndarray) -> Tensor:
    """Exact products added up in float64, rounded to float32 and then to bfloat16."""
    return torch.from_numpy(terms.sum(-1)).float().to(BF16)


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 5), st.integers(1, 400), st.integers(1, 5), st.integers(0, 2**16), st.booleans())
def test_products_are_exact_sums_rounded_once(
    rows: int, length: int, columns: int, seed: int, inference: bool
) -> None:
    draw = torch.Generator().manual_seed(seed)
    # integers of 8 bits: every sum is exact in float32, in whatever order
    left = torch.randint(-128, 129, (rows, length), generator=draw).to(BF16)
    right = torch.randint(-128, 129, (length, columns), generator=draw).to(BF16)
    expected = rounded_sum(left.double().numpy()[:, None, :] * right.double().numpy().T[None, :, :])
    with ProductsInFloat32(), torch.inference_mode(inference):
        assert torch.equal(left @ right, expected)
        assert torch.equal(F.linear(left, right.T.contiguous()), expected)
        assert torch.equal(torch.bmm(left[None], right[None])[0], expected)


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (lambda: nn.Conv2d(6, 8, 3, padding=1, stride=2), (2, 6, 7, 7)),
        (lambda: nn.Conv2d(6, 6, 3, groups=3, bias=False), (2, 6, 7, 7)),
        (lambda: nn.ConvTranspose2d(6, 4, 2), (2, 6, 5, 5)),
        (lambda: nn.Conv1d(6, 4, 3), (2, 6, 9)),
        (lambda: nn.Linear(12, 5, bias=False), (2, 3, 12)),
    ],
)
def test_a_layer_and_its_gradients_are_those_of_float32_on_rounded_operands(
    layer: Callable[[], nn.Module], shape: tuple[int, ...]
) -> None:
    torch.manual_seed(0)
    rounded, plain = layer(), layer()
    for parameter in rounded.parameters():
        parameter.data = parameter.data.to(BF16).float()
    plain.load_state_dict(rounded.state_dict())
    images = torch.randn(shape).to(BF16)
    with ProductsInFloat32():
        with torch.autocast("cpu", BF16):
            outputs = rounded(images)
        upstream = torch.randn(outputs.shape).to(BF16)
        outputs.backward(upstream)
    expected = plain(images.float())
    expected.backward(upstream.float())
    assert outputs.dtype == BF16
    assert torch.equal(outputs, expected.to(BF16))
    for got, want in zip(rounded.parameters(), plain.parameters(), strict=True):
        assert got.grad is not None
        assert want.grad is not None
        assert torch.equal(got.grad, want.grad.to(BF16).float())


def test_other_numbers_and_other_operators_are_left_as_they_are() -> None:
    single, rounded = torch.randn(3, 3), torch.randn(3, 3).to(BF16)
    with ProductsInFloat32():
        assert torch.equal(single @ single, torch.mm(single, single))
        assert (rounded + rounded).dtype == BF16


@pytest.mark.parametrize(
    ("instructions", "precision", "compiled", "used"),
    [
        ("AVX2", "bf16-mixed", False, True),
        ("AVX2", "bf16-mixed", True, False),
        ("AVX2", "32-true", False, False),
        ("AVX512", "bf16-mixed", False, False),
    ],
)
def test_only_where_the_processor_has_no_bfloat16(
    instructions: str, precision: str, compiled: bool, used: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.backends.cpu.get_cpu_capability", lambda: instructions)
    assert isinstance(products_in_float32(precision, compiled), ProductsInFloat32) == used
