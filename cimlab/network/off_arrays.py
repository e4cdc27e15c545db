"""What a network computes beside the matrices on its arrays: plain numbers, as prices take and records keep them.

Digital weights are static weights that are left digital, by name and with a reason; dynamic products are those of two
activations, as in attention. Tables are parameters of two or more dimensions in no matrix product with activations.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class DigitalProduct:
    """Products that digital units compute.

    Args:
        name: of the weight, or of the module that multiplies two activations.
        macs: multiply-accumulates of one sample.
        weights: values that this product alone holds; 0 for two activations.
        reason: why the weight is left digital; empty for two activations.
    """

    name: str
    macs: int
    weights: int = 0
    reason: str = ""


@dataclass(frozen=True)
class OffArrays:
    """Everything that a sample needs beside the arrays.

    Args:
        digital: weights that are left digital.
        dynamic: products of two activations.
        tables: parameters that no product with activations reads, with their sizes: embeddings, position tables, scales
            of activations, layers that the sample did not reach. An embedding whose weight is multiplied elsewhere, and
            counted there, has size 0.
        once: products that are computed once, however many samples there are, as those that depend on no input.
        sample: what energies and times are of: `image`, `sequence of 16 tokens`, or `sample`.
        tokens: in a sample, for a network that is given token ids.
        across: modules that compute from several samples of a batch together, counted as a lone sample takes them.
        sampled: where there are such modules, inputs that all samples may share, but of which one sample was taken.
    """

    digital: tuple[DigitalProduct, ...] = ()
    dynamic: tuple[DigitalProduct, ...] = ()
    tables: tuple[tuple[str, int], ...] = ()
    once: tuple[DigitalProduct, ...] = ()
    sample: str = "image"
    tokens: int | None = None
    across: tuple[str, ...] = ()
    sampled: tuple[str, ...] = ()

    @classmethod
    def of_json(cls, content: Mapping[str, Any]) -> OffArrays:
        """The inverse of `to_json`; of nothing, as older records have it, nothing.

        Raises:
            KeyError, TypeError: the content is something else.
        """
        if not content:
            return cls()
        digital, dynamic, once = (
            tuple(DigitalProduct(**product) for product in content[kind])
            for kind in ("digital", "dynamic", "once")
        )
        tables = tuple((str(name), int(size)) for name, size in content["tables"])
        # which records of before do not know
        across, sampled = (tuple(map(str, content.get(names, ()))) for names in ("across", "sampled"))
        return cls(digital, dynamic, tables, once, content["sample"], content["tokens"], across, sampled)

    def to_json(self) -> dict[str, Any]:
        """Plain values.

        >>> work = OffArrays(dynamic=(DigitalProduct("attention", 64),), sample="sequence of 4 tokens", tokens=4)
        >>> OffArrays.of_json(work.to_json()) == work
        True
        """
        return asdict(self)

    @property
    def kinds(self) -> tuple[tuple[DigitalProduct, ...], tuple[DigitalProduct, ...]]:
        """Digital weights, and products of two activations."""
        return self.digital, self.dynamic

    @property
    def weights(self) -> int:
        """Weights that take part in a product, but on no array."""
        return sum(product.weights for product in self.digital)

    @property
    def macs(self) -> int:
        """Multiply-accumulates of a sample off the arrays."""
        return sum(product.macs for kind in self.kinds for product in kind)

    @property
    def notes(self) -> tuple[str, ...]:
        """What is off the arrays, in words; empty where everything is on them."""
        said = [self._of_digital(reason) for reason in dict.fromkeys(p.reason for p in self.digital)]
        if self.dynamic:
            said.append(
                f"products of two activations, computed digitally: {_macs(self.dynamic)} of "
                f"{listed([work.name for work in self.dynamic])}"
            )
        if self.tables:
            size = sum(size for _, size in self.tables)
            said.append(
                "outside the products with activations (looked up, added, scaled by, or not reached by the sample), so "
                "that no price and no count of weights holds them: "
                f"{size:,} parameters of {listed([name for name, _ in self.tables])}"
            )
        if self.once:
            said.append(
                f"not priced, as they are computed once and not for every sample: {_macs(self.once)} of "
                f"{listed([work.name for work in self.once])}"
            )
        if self.across:
            said.append(
                f"counted as one sample alone takes them: products of {listed(self.across)}, of which a batch of two "
                "takes more than twice as many, as samples are multiplied by each other or do not lie in dimension 0"
            )
        if self.sampled:
            said.append(
                f"one sample was taken of {listed(self.sampled)}, as long in dimension 0 as the batch; if all samples "
                "share that input whole, give a batch of another size"
            )
        return tuple(said)

    @property
    def all_there_is(self) -> str:
        """The line that refuses a network of which nothing is on arrays, with the reasons.

        >>> OffArrays().all_there_is
        'no weight is on arrays: the network multiplies its inputs by none'
        """
        return (
            f"no weight is on arrays: {'; '.join(self.notes) or 'the network multiplies its inputs by none'}"
        )

    def _of_digital(self, reason: str) -> str:
        own = [product for product in self.digital if product.reason == reason]
        weights = sum(product.weights for product in own)
        return (
            f"{weights:,} digital weights, {_macs(own)}: {listed([p.name for p in own])} ({reason})"
        )  # fmt: skip


NOTHING = OffArrays()


def _macs(products: Iterable[DigitalProduct]) -> str:
    return f"{sum(product.macs for product in products):,} multiply-accumulates"


def listed(names: Sequence[str]) -> str:
    """The first of some names, and how many more.

    >>> listed(["a", "b", "a", "c", "d"])
    'a, b, c and 1 more'
    """
    different = list(dict.fromkeys(names))
    more = f" and {len(different) - 3} more" if len(different) > 3 else ""
    return ", ".join(different[:3]) + more
