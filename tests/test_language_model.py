"""A small language model through a Lab: token ids as tensor, tuple or dictionary; pruned, placed, priced, on arrays.

Its linear layers are on arrays, its attention is two products of activations, and its embeddings are tables.
"""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from cimlab.hardware.report import CostComparison
from cimlab.lab import Lab
from cimlab.network.batch import Batch

WIDTH, HEADS, WORDS, LENGTH, LAYERS = 32, 2, 50, 6, 2
IDS = torch.randint(WORDS, (4, LENGTH), generator=torch.Generator().manual_seed(0))
ALL = ("prune.exempt_first=false", "prune.exempt_last=false", "prune.remaining=0.5")


class Block(nn.Module):
    """Causal attention and two linear layers, each added to its input, as in GPT-2."""

    def __init__(self) -> None:
        super().__init__()
        self.norm_1, self.norm_2 = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.qkv, self.out = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)
        self.up, self.down = nn.Linear(WIDTH, 4 * WIDTH), nn.Linear(4 * WIDTH, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        parts = self.qkv(self.norm_1(x)).unflatten(-1, (3, HEADS, -1)).permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(*parts.unbind(), is_causal=True)
        x = x + self.out(mixed.transpose(1, 2).flatten(2))
        return x + self.down(F.gelu(self.up(self.norm_2(x))))


class Speaks(nn.Module):
    """A decoder whose head is its embedding, as its arguments ask for."""

    def __init__(self, tied: bool = True) -> None:
        super().__init__()
        self.words, self.places = nn.Embedding(WORDS, WIDTH), nn.Embedding(LENGTH, WIDTH)
        self.blocks = nn.ModuleList(Block() for _ in range(LAYERS))
        self.norm, self.head = nn.LayerNorm(WIDTH), nn.Linear(WIDTH, WORDS, bias=False)
        if tied:
            self.head.weight = self.words.weight

    def forward(self, input_ids: Tensor, attention_mask: Tensor | None = None) -> Tensor:
        x = self.words(input_ids) + self.places(torch.arange(input_ids.shape[1], device=input_ids.device))
        if attention_mask is not None:
            x = x * attention_mask[..., None]
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x))


class Encodes(nn.Module):
    """torch's own encoder layers under a causal mask, the head a layer of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(WORDS, WIDTH)
        layer = nn.TransformerEncoderLayer(WIDTH, HEADS, 4 * WIDTH, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, LAYERS, enable_nested_tensor=False)
        self.head = nn.Linear(WIDTH, WORDS)

    def forward(self, input_ids: Tensor) -> Tensor:
        mask = nn.Transformer.generate_square_subsequent_mask(input_ids.shape[1])
        return self.head(self.encoder(self.words(input_ids), mask=mask, is_causal=True))


BATCHES: dict[str, Batch] = {
    "tensor": IDS,
    "tuple": (IDS, torch.ones_like(IDS)),
    "dictionary": {"input_ids": IDS, "attention_mask": torch.ones_like(IDS)},
}
LINEAR = LAYERS * (3 + 1 + 4 + 4) * WIDTH**2  # qkv, out, up, down
ATTENTION = 2 * LAYERS * LENGTH**2 * WIDTH  # scores and sums, all heads


def called(network: nn.Module, batch: Batch) -> Tensor:
    if isinstance(batch, Tensor):
        return network(batch)
    return network(**batch) if isinstance(batch, dict) else network(*batch)


def through_a_lab(build: Callable[[], nn.Module], batch: Batch) -> tuple[nn.Module, CostComparison]:
    """Pruned by half, held, put on lossless arrays, and priced."""
    torch.manual_seed(0)
    network, lab = build().eval(), Lab(*ALL, "granularity=operation_unit", "adc=ideal")
    masks = lab.prune(network, batch)
    for name, mask in masks.items():
        stored = dict(network.named_parameters(remove_duplicate=False))
        if f"{name}.weight" in stored:
            assert not stored[f"{name}.weight"][~mask].any()
    placed = lab.place(network, masks, batch)
    assert 0.4 < placed.total.weights_left / placed.total.weights < 0.6
    on_arrays = lab.on_arrays(network, masks, batch)
    with torch.no_grad():
        exact, found = called(network, batch), called(on_arrays, batch)
    assert (found - exact).norm() < 0.1 * exact.norm()
    return network, lab.cost(network, masks, batch)


@pytest.mark.parametrize("kind", BATCHES)
def test_a_language_model_is_priced_whole_whatever_holds_its_token_ids(kind: str) -> None:
    network, cost = through_a_lab(Speaks, BATCHES[kind])
    products = {name: cost.dense.operations[i] // 2 for i, name in enumerate(cost.dense.layers)}
    assert products == {
        **{
            f"blocks.{i}.{name}": LENGTH * size * WIDTH**2
            for i in range(LAYERS)
            for name, size in (("qkv", 3), ("out", 1), ("up", 4), ("down", 4))
        },
        "head": LENGTH * WORDS * WIDTH,
    }
    off = cost.dense.off_arrays
    assert {p.name: p.macs for p in off.dynamic} == {
        f"blocks.{i}": ATTENTION // LAYERS for i in range(LAYERS)
    }
    assert not off.digital
    assert dict(off.tables) == {"places.weight": LENGTH * WIDTH, "words": 0}
    multiplied = LINEAR + WORDS * WIDTH
    assert cost.weights()["total"] == multiplied
    held = multiplied + LENGTH * WIDTH
    assert held == sum(p.numel() for p in network.parameters() if p.ndim > 1)
    mac = cost.dense.mac_j
    for report in (cost.dense, cost.pruned):
        assert report.energy_by_component["activation_products"] == pytest.approx(ATTENTION * mac)
    summary = cost.summary()
    assert (summary["sample"], summary["tokens"]) == (f"sequence of {LENGTH} tokens", LENGTH)
    assert any(
        "outside the products with activations" in note and "places.weight, words" in note
        for note in summary["notes"]
    )


def test_encoder_layers_of_torch_are_priced_whole() -> None:
    network, cost = through_a_lab(Encodes, {"input_ids": IDS})
    off = cost.dense.off_arrays
    assert sum(p.macs for p in off.dynamic) == ATTENTION
    assert dict(off.tables) == {"words.weight": WORDS * WIDTH}
    assert cost.weights()["total"] == LINEAR + WORDS * WIDTH
    assert cost.weights()["total"] + WORDS * WIDTH == sum(
        p.numel() for p in network.parameters() if p.ndim > 1
    )


def test_a_configuration_of_transformers_is_priced_whole() -> None:
    """GPT-2 as its configuration builds it; its Conv1D layers store inputs first."""
    transformers = pytest.importorskip("transformers")
    config = transformers.GPT2Config(
        n_layer=LAYERS, n_head=HEADS, n_embd=WIDTH, vocab_size=WORDS, n_positions=LENGTH, resid_pdrop=0.0
    )

    class Logits(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = transformers.GPT2LMHeadModel(config)

        def forward(self, **batch: Tensor) -> Tensor:
            return self.model(**batch, use_cache=False).logits

    _, cost = through_a_lab(Logits, dict(BATCHES["dictionary"]))
    assert cost.weights()["total"] == LINEAR + WORDS * WIDTH
    assert sum(p.macs for p in cost.dense.off_arrays.dynamic) == ATTENTION


def test_tables_say_of_what_energies_are() -> None:
    from cimlab.reporting.hardware import totals_table, work_table

    _, cost = through_a_lab(Speaks, IDS)
    summary = cost.summary()
    rows = {row[0]: row[1:] for row in totals_table(summary, "").rows}
    assert f"energy per sequence of {LENGTH} tokens" in rows
    assert "energy per token" in rows
    assert str(rows["throughput"][0]).endswith("sequences/s")
    assert [row[0] for row in work_table(summary).rows] == ["on arrays", "activation products"]
