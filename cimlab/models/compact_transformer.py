"""Compact convolutional transformers, CCT-L/3xC, that learn small images from nothing (Hassani et al. 2021, section 3).

C convolutions of 3x3, each with ReLU and a max-pool that halves the sides, make tokens; L encoder layers mix them;
sequence pooling weighs the tokens into one, in the place of a class token. Parameters are called as in the authors'
code (SHI-Labs/Compact-Transformers), so that their checkpoints fit. Convolutions start by He's rule, linear weights at
a standard deviation of 0.02 and position embeddings at 0.2, as theirs do.
"""

import itertools

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional
from torchvision.ops import StochasticDepth

from cimlab.models.blocks import initialise_convolutions, require_positive_integers

TOKENIZER_CHANNELS = 64  # of every convolution but the last


class Attention(nn.Module):
    """Scaled dot-product attention of `heads` heads; queries, keys and values are one matrix without bias."""

    def __init__(self, channels: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.dropout = dropout
        self.qkv = nn.Linear(channels, 3 * channels, bias=False)
        self.proj = nn.Linear(channels, channels)

    def forward(
        self, tokens: Float[Tensor, "batch tokens channels"]
    ) -> Float[Tensor, "batch tokens channels"]:
        """Every token as a mean of all tokens' values, weighed by how well its query meets their keys."""
        parts = self.qkv(tokens).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        query, key, value = parts.unbind()
        dropout = self.dropout if self.training else 0.0
        mixed = functional.scaled_dot_product_attention(query, key, value, dropout_p=dropout)
        return self.proj(mixed.transpose(1, 2).flatten(2))


class EncoderLayer(nn.Module):
    """Attention and two linear layers with GELU, each added to its input, which the second norm changes too."""

    def __init__(
        self, channels: int, heads: int, hidden: int, attention_dropout: float, stochastic_depth: float
    ) -> None:
        super().__init__()
        self.pre_norm = nn.LayerNorm(channels)
        self.self_attn = Attention(channels, heads, attention_dropout)
        self.norm1 = nn.LayerNorm(channels)
        self.linear1 = nn.Linear(channels, hidden)
        self.linear2 = nn.Linear(hidden, channels)
        self.drop_path = StochasticDepth(stochastic_depth, mode="row")

    def forward(
        self, tokens: Float[Tensor, "batch tokens channels"]
    ) -> Float[Tensor, "batch tokens channels"]:
        """The tokens after one layer."""
        tokens = self.norm1(tokens + self.drop_path(self.self_attn(self.pre_norm(tokens))))
        return tokens + self.drop_path(self.linear2(functional.gelu(self.linear1(tokens))))


class PooledEncoder(nn.Module):
    """Tokens with their positions, encoder layers, sequence pooling, class scores."""

    def __init__(self, tokens: int, channels: int, num_classes: int, layers: list[EncoderLayer]) -> None:
        super().__init__()
        self.positional_emb = nn.Parameter(torch.empty(1, tokens, channels))
        self.blocks = nn.Sequential(*layers)
        self.norm = nn.LayerNorm(channels)
        self.attention_pool = nn.Linear(channels, 1)
        self.fc = nn.Linear(channels, num_classes)
        nn.init.trunc_normal_(self.positional_emb, std=0.2)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def forward(self, tokens: Float[Tensor, "batch tokens channels"]) -> Float[Tensor, "batch classes"]:
        """Class scores."""
        tokens = self.norm(self.blocks(tokens + self.positional_emb))
        share = self.attention_pool(tokens).softmax(dim=1)
        return self.fc((share.transpose(1, 2) @ tokens).squeeze(1))


class CompactTransformer(nn.Module):
    """CCT-layers/3xconvolutions; images [batch, in_channels, image_size, image_size] to scores [batch, num_classes].

    Args:
        layers: encoder layers.
        heads: attention heads of each.
        channels: of a token.
        hidden: channels between an encoder layer's two linear layers.
        convolutions: that make tokens; each halves the sides of the image.
        image_size: side of an image; positions are learned one by one.
        attention_dropout: share of attention weights dropped in training.
        stochastic_depth: how often the last layer's branches are dropped in training; the first layer's never are, the
            others' in between.
        num_classes: class scores.
        in_channels: of an image.

    Raises:
        ValueError: a size is not positive, a share not in 0 to 1, or heads don't share the channels evenly.

    >>> cct = CompactTransformer(layers=2, heads=2, channels=128, hidden=128, num_classes=10, in_channels=3)
    >>> sum(p.numel() for p in cct.parameters())
    283723
    """

    def __init__(
        self,
        *,
        layers: int,
        heads: int,
        channels: int,
        hidden: int,
        convolutions: int = 2,
        image_size: int = 32,
        attention_dropout: float = 0.1,
        stochastic_depth: float = 0.1,
        num_classes: int,
        in_channels: int,
    ) -> None:
        super().__init__()
        require_positive_integers(
            layers=layers, heads=heads, channels=channels, hidden=hidden, convolutions=convolutions,
            image_size=image_size, num_classes=num_classes, in_channels=in_channels,
        )  # fmt: skip
        _require_shares(attention_dropout=attention_dropout, stochastic_depth=stochastic_depth)
        if channels % heads:
            raise ValueError(
                f"heads={heads} don't share channels={channels} evenly; use a divisor of channels"
            )
        self.image_size = image_size
        stages: list[nn.Module] = []
        side, widths = image_size, [in_channels, *[TOKENIZER_CHANNELS] * (convolutions - 1), channels]
        for before, after in itertools.pairwise(widths):
            convolution = nn.Conv2d(before, after, 3, padding=1, bias=False)
            stages.append(nn.Sequential(convolution, nn.ReLU(), nn.MaxPool2d(3, stride=2, padding=1)))
            side = (side + 1) // 2
        self.tokenizer = nn.Sequential()
        self.tokenizer.add_module("conv_layers", nn.Sequential(*stages))
        initialise_convolutions(self)
        depths = torch.linspace(0, stochastic_depth, layers, device="cpu").tolist()
        self.classifier = PooledEncoder(
            side**2, channels, num_classes,
            [EncoderLayer(channels, heads, hidden, attention_dropout, depth) for depth in depths],
        )  # fmt: skip

    def forward(self, images: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch classes"]:
        """Class scores; raises ValueError on images of another size than image_size."""
        if images.shape[-2:] != (self.image_size, self.image_size):
            raise ValueError(
                f"images of {images.shape[-2]} x {images.shape[-1]} do not fit image_size={self.image_size}; "
                f"its positions are learned one by one; use image_size={images.shape[-1]} (model.image_size=...)"
            )
        return self.classifier(self.tokenizer(images).flatten(2).transpose(1, 2))


def _require_shares(**fields: float) -> None:
    for field, value in fields.items():
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1:
            raise ValueError(f"{field}={value!r} is not allowed; use a share from 0 to below 1, such as 0.1")
