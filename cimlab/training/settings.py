"""How to train, in plain validated values; free of torch, so that a configuration is checked in no time."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

# a layer may be called 3, which YAML reads as a number
_STRICT = ConfigDict(extra="forbid", coerce_numbers_to_str=True)
Curve = Literal["one_cycle", "cosine", "constant"]


@dataclass(frozen=True, config=_STRICT)
class Recipe:
    """The dense training recipe; retraining uses the same with the schedule's learning-rate rule.

    Args:
        epochs: dense epochs.
        curve: learning rate over time, relative to the optimizer's `lr`.
        warmup: fraction of the epochs over which the rate rises.
        label_smoothing: weight of the uniform target.
        gradient_batches: training batches for saliencies that need gradients.
    """

    epochs: Annotated[int, Field(ge=1)]
    curve: Curve = "one_cycle"
    warmup: Annotated[float, Field(ge=0, lt=1)] = 0.2
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0
    gradient_batches: Annotated[int, Field(ge=1)] = 10


@dataclass(frozen=True, config=_STRICT)
class TrainerSettings:
    """The machine side of training.

    Args:
        accelerator: where to compute.
        precision: number format; bf16-mixed is autocast with float32 weights.
        channels_last: memory format of images and convolutions.
        compile: compile the network with torch.compile.
        deterministic: refuse kernels whose result differs from run to run.
        threads: processor threads; None leaves torch's choice.
        devices: GPUs, or processes on the processor, that share each batch.
        progress: live bars, plain lines, or whichever fits the terminal.
        checkpoint_every_s: seconds to let pass, at the least, before the next epoch's end is kept for resuming.
    """

    accelerator: Literal["auto", "cpu", "gpu"] = "auto"
    precision: Literal["32-true", "bf16-mixed", "16-mixed"] = "32-true"
    channels_last: bool = True
    compile: bool = False
    deterministic: bool = False
    threads: Annotated[int, Field(ge=1)] | None = None
    devices: Annotated[int, Field(ge=1)] = 1
    progress: Literal["auto", "bar", "lines", "none"] = "auto"
    checkpoint_every_s: Annotated[float, Field(ge=0)] = 0.0


@dataclass(frozen=True, config=_STRICT)
class ResizingSettings:
    """Smaller images at the start of training (`training/resizing.py`).

    Args:
        share: fraction of the epochs, at their start, on smaller images.
        scale: their side over that of the whole images.
        retraining: also in retraining, not in dense training alone.
    """

    share: Annotated[float, Field(gt=0, lt=1)]
    scale: Annotated[float, Field(gt=0, lt=1)]
    retraining: bool


@dataclass(frozen=True, config=_STRICT)
class DistillationSettings:
    """Soft targets of the dense network in retraining (`training/distillation.py`).

    Args:
        weight: of the loss on the soft targets; the loss on the labels keeps 1 - weight.
        temperature: divides the logits of both networks.
    """

    weight: Annotated[float, Field(gt=0, le=1)]
    temperature: Annotated[float, Field(gt=0, le=100)]


@dataclass(frozen=True, config=_STRICT)
class PermutationSettings:
    """Which lines are reordered on the arrays before pruning (`pruning/permutation.py`).

    Args:
        rows: wordlines.
        columns: bitlines.
        rounds: most rounds of the search.
    """

    rows: bool
    columns: bool
    rounds: Annotated[int, Field(ge=1, le=1000)]

    def __post_init__(self) -> None:
        if not self.rows and not self.columns:
            raise ValueError("permutation.rows=false with columns=false moves nothing; leave permutation out")


@dataclass(frozen=True, config=_STRICT)
class AdmmSettings:
    """Training towards the nearest network of whole kept units (`pruning/admm.py`).

    Args:
        share: fraction of the retraining, at its start; the schedule's events are spread over the rest.
        updates: of targets and duals, equally spaced.
        first_rho: strength of the pull after the first update.
        last_rho: after the last; geometric in between.
    """

    share: Annotated[float, Field(gt=0, lt=1)]
    updates: Annotated[int, Field(ge=1, le=10_000)]
    first_rho: Annotated[float, Field(gt=0, le=1)]
    last_rho: Annotated[float, Field(gt=0, le=1)]

    def rho_at(self, update: int) -> float:
        """Strength after an update, the first being 0."""
        done = update / max(1, self.updates - 1)
        return self.first_rho * (self.last_rho / self.first_rho) ** done


@dataclass(frozen=True, config=_STRICT)
class QuantisationSettings:
    """How retraining rounds weights and inputs, at the bits of the geometry (`training/quantisation.py`).

    Args:
        method: `ste`, the straight-through estimator with ranges from extremes; `lsq`, learned step sizes.
        hardware_aware: weights as the run's devices give them back, outputs as its ADCs read them.
    """

    method: Literal["ste", "lsq"]
    hardware_aware: bool


@dataclass(frozen=True, config=_STRICT)
class SimulateSettings:
    """Accuracy on the arrays at the end of a run, as `cimlab simulate` measures it.

    Args:
        at_end: whether to.
        draws: chips, where devices or ADCs differ from chip to chip.
        images: test images; None is all.
        calibration_batches: training batches for what has no learned step, and for ADC ranges.
    """

    at_end: bool = False
    draws: Annotated[int, Field(ge=1, le=10_000)] = 5
    images: Annotated[int, Field(ge=1)] | None = None
    calibration_batches: Annotated[int, Field(ge=1)] = 4


@dataclass(frozen=True, config=_STRICT)
class TrackerSettings:
    """Where metrics are shown besides the run record.

    Args:
        name: `wandb` or `none`.
        mode: wandb's mode; offline needs no account and no network.
        entity: wandb's user or team, where `cimlab charts` has stored the charts; None is wandb's own choice.
        project: wandb project.
        group: wandb group that ties a grid's runs together; None is the name of the experiment file.
    """

    name: Literal["wandb", "none"] = "wandb"
    mode: Literal["offline", "online"] = "offline"
    entity: str | None = None
    project: str = "cimlab"
    group: str | None = None


@dataclass(frozen=True, config=_STRICT)
class MappingSettings:
    """How masked weights are laid on arrays.

    Args:
        row_order: order of a convolution's rows: (c, kh, kw) or (kh, kw, c).
        placement: zeros skipped where they are, or squeezed out of storage.
        every_n_epochs: also map during training every so many epochs; 0 maps at the end of each phase only.
    """

    row_order: Literal["channel_major", "kernel_major"] = "channel_major"
    placement: Literal["in_place", "compacted"] = "in_place"
    every_n_epochs: Annotated[int, Field(ge=0)] = 0


@dataclass(frozen=True, config=_STRICT)
class PruneSettings:
    """How much is pruned, and where.

    Args:
        remaining: fraction of the prunable weights that stay.
        allocation: how layers share the budget; `global` ranks units by saliency per weight, `steps` by saliency
            per array step that the crossbar spends on them. `remaining` is of weights either way.
        layer_floor: fraction of every layer that always stays, at least one unit; 0 is no protection.
        layer_remaining: for `per_layer`: layer name or glob pattern -> fraction.
        exempt_first: leave the first layer dense.
        exempt_last: leave the classifier dense.
    """

    remaining: Annotated[float, Field(gt=0, le=1)]
    allocation: Literal["global", "steps", "uniform", "erk", "per_layer"] = "global"
    layer_floor: Annotated[float, Field(ge=0, le=1)] = 0.01
    layer_remaining: dict[str, Annotated[float, Field(gt=0, le=1)]] = Field(default_factory=dict)
    exempt_first: bool = True
    exempt_last: bool = True
