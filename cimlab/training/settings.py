"""How to train, in plain validated values; free of torch, so that a configuration is checked in no time."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from cimlab.crossbar.rules import PlacementMode, RowOrder
from cimlab.records.identity import NEVER, PRUNED

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
    gradient_batches: Annotated[int, Field(ge=1), PRUNED] = 10


RetrainRate = Literal["rewind", "fine_tune", "restart"]
PEAK_SCALES: dict[RetrainRate, float] = {"restart": 0.5, "rewind": 1.0, "fine_tune": 0.01}


@dataclass(frozen=True, config=_STRICT)
class ScheduleSettings:
    """How long to retrain and how fast to learn meanwhile; when to prune is a method's (gradual, iterative) or at once.

    Args:
        epochs: retraining epochs in all.
        rate: `rewind` replays the tail of the dense learning-rate curve and `fine_tune` stays at its low end
            (Renda et al., ICLR 2020); `restart` runs the whole curve again (Le and Hua, ICLR 2021).
        rate_scale: multiplies the peak learning rate; for `fine_tune` it is the constant rate over the peak.
            None is 0.5 for restart (half the dense peak), 1 for rewind, 0.01 for fine_tune.
    """

    epochs: Annotated[int, Field(ge=1)]
    rate: RetrainRate = "restart"
    rate_scale: Annotated[float, Field(gt=0, le=10)] | None = None

    @property
    def peak_scale(self) -> float:
        """The peak learning rate of retraining, over the dense one."""
        return PEAK_SCALES[self.rate] if self.rate_scale is None else self.rate_scale


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
    threads: Annotated[Annotated[int, Field(ge=1)] | None, NEVER] = None
    devices: Annotated[int, Field(ge=1), NEVER] = 1
    progress: Annotated[Literal["auto", "bar", "lines", "none"], NEVER] = "auto"
    checkpoint_every_s: Annotated[float, Field(ge=0), NEVER] = 0.0


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
        placement: zeros skipped where they are, or squeezed out of storage, whole steps alone or wordline by wordline.
        every_n_epochs: also map during training every so many epochs; 0 maps at the end of each phase only.
    """

    row_order: RowOrder = "channel_major"
    placement: PlacementMode = "compacted"
    every_n_epochs: Annotated[int, Field(ge=0)] = 0


@dataclass(frozen=True, config=_STRICT)
class PruneSettings:
    """How much is pruned, and where.

    Args:
        remaining: fraction of the prunable layers' weights that stays, or of what `budget` names.
        budget: what `remaining` is a fraction of, and what saliency is spent per unit of: weights, array steps, or
            steps by the dynamic energy that they take in the dense network on the chosen accelerator. Compression over
            weights is told beside it whichever it is.
        allocation: how layers share the budget; `global` ranks units by saliency per weight, `steps` by saliency
            per array step that the crossbar spends on them. `remaining` is of weights either way.
        layer_floor: fraction of every layer that always stays, at least one unit; 0 is no protection.
        layer_remaining: for `per_layer`: layer name or glob pattern -> fraction.
        exempt_first: leave the layer dense that is computed first of those on arrays, in the order of execution; where
            the network's first is digital (`analog.digital`), that is the next one.
        exempt_last: likewise the one computed last, which is the classifier in most networks.
    """

    remaining: Annotated[float, Field(gt=0, le=1)]
    budget: Literal["weights", "steps", "energy"] = "weights"
    allocation: Literal["global", "steps", "uniform", "erk", "per_layer"] = "global"
    layer_floor: Annotated[float, Field(ge=0, le=1)] = 0.01
    layer_remaining: dict[str, Annotated[float, Field(gt=0, le=1)]] = Field(default_factory=dict)
    exempt_first: bool = True
    exempt_last: bool = True

    def __post_init__(self) -> None:
        if self.budget != "weights" and self.allocation in ("steps", "erk"):
            raise ValueError(
                f"prune.allocation={self.allocation} shares out weights, prune.budget={self.budget} does not; use "
                "prune.allocation=global, uniform or per_layer"
            )
