"""Training images/s on CIFAR-size images: the Lightning loop beside a bare loop and a floor, in one run.

Both train the same network on the same resident data with the same input pipeline, optimiser and autocast. The
two take turns, so that a machine whose speed drifts slows both; the ratio of the medians is the claim. The floor is
what the multiply-adds alone would take at the rate of a large square matrix product, measured before and after. On a
processor without bfloat16 all of them compute its products in float32, as training does, and one more line tells what
torch's own kernels do.

    python experiments/benchmarks/training_throughput.py --precision bf16-mixed --rounds 5
    python experiments/benchmarks/training_throughput.py --model resnet18 --batch 512 --steps 200 --warmup 30  # GPU
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytorch_lightning as pl
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from cimlab.data.fake import FakeImages
from cimlab.models.resnet18 import resnet18
from cimlab.models.resnet_cifar import CifarResNet
from cimlab.models.vgg import vgg16
from cimlab.training.bfloat16 import ProductsInFloat32, products_in_float32
from cimlab.training.callbacks import SeedEpochs
from cimlab.training.feed import Feed
from cimlab.training.fit import quiet_lightning
from cimlab.training.module import Classifier

NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "resnet20": lambda: CifarResNet(depth=20, num_classes=10, in_channels=3),
    "resnet18": lambda: resnet18(num_classes=10, in_channels=3, stem="cifar"),
    "vgg16": lambda: vgg16(num_classes=10, in_channels=3),
}


def data_module(args: argparse.Namespace) -> FakeImages:
    data = FakeImages(
        data_dir="",
        batch_size=args.batch,
        validation_size=0,
        seed=0,
        num_images=args.batch * args.steps,
        num_classes=10,
        in_channels=3,
        image_size=32,
        crop_padding=4,
        flip=True,
    )
    data.prepare_data()
    return data


def optimiser(groups: Any) -> torch.optim.Optimizer:
    return torch.optim.SGD(groups, lr=0.1, momentum=0.9, nesterov=True, weight_decay=5e-4)


def bare_epoch(args: argparse.Namespace) -> float:
    """Images/s of a plain loop, input pipeline included."""
    torch.manual_seed(0)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    network = NETWORKS[args.model]().to(device).to(memory_format=torch.channels_last)
    if args.compile:
        network.compile()
    optimizer = optimiser(network.parameters())
    data = data_module(args)
    bf16 = args.precision == "bf16-mixed"
    data.setup("fit")
    data.to(device, torch.bfloat16 if bf16 else torch.float32)
    clock = Clock(args.warmup)
    for images, labels in data.train_loader():
        with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
            loss = F.cross_entropy(network(images), labels, label_smoothing=0.1)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        clock.tick(len(labels))
    return clock.images_per_s()


@dataclass
class Clock:
    """Time from the end of the warm-up steps to the last step."""

    warmup: int
    steps: int = 0
    images: int = 0
    started: float = field(default=0.0)
    ended: float = field(default=0.0)

    def tick(self, images: int) -> None:
        self.steps += 1
        if self.steps == self.warmup:
            self.started = now()
        elif self.steps > self.warmup:
            self.images += images

    def images_per_s(self) -> float:
        self.ended = now()
        return self.images / (self.ended - self.started)


def now() -> float:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()


class ClockCallback(pl.Callback):
    """The same clock inside the Lightning loop."""

    def __init__(self, warmup: int) -> None:
        self.clock = Clock(warmup)
        self.result = 0.0

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self.clock.tick(len(batch[1]))
        if trainer.is_last_batch:
            self.result = self.clock.images_per_s()


def lightning_epoch(args: argparse.Namespace) -> float:
    """Images/s of the project's module and loop."""
    torch.manual_seed(0)
    network = NETWORKS[args.model]().to(memory_format=torch.channels_last)
    if args.compile:
        network.compile()
    callback = ClockCallback(args.warmup)
    trainer = pl.Trainer(
        accelerator="auto",
        devices=1,
        precision=args.precision,
        benchmark=True,
        max_epochs=1,
        callbacks=[SeedEpochs(0, "dense"), callback],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(Classifier(network, optimiser, lambda _: 1.0, 0.1), datamodule=Feed(data_module(args)))
    return callback.result


def operations(args: argparse.Namespace) -> float:
    """Multiplications and additions of one image's forward and backward pass, in convolutions and matrix products."""
    network, images = NETWORKS[args.model](), torch.randn(1, 3, 32, 32)
    with FlopCounterMode(display=False) as counter:
        network(images).sum().backward()
    return float(counter.get_total_flops())


def operations_per_s(args: argparse.Namespace) -> float:
    """The best rate of a square matrix product in the precision of training."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    side = 8192 if device.type == "cuda" else 2048
    number = torch.bfloat16 if args.precision == "bf16-mixed" else torch.float32
    a, b = torch.randn(2, side, side, device=device).to(number)
    best = 0.0
    for _ in range(5):
        start = now()
        a @ b
        best = max(best, 2 * side**3 / (now() - start))
    return best


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--model", choices=NETWORKS, default="resnet20")
    parser.add_argument("--precision", choices=["bf16-mixed", "32-true"], default="bf16-mixed")
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--steps", type=int, default=20, help="steps a round, warm-up included")
    parser.add_argument("--warmup", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--compile", action="store_true", help="torch.compile both")
    args = parser.parse_args()
    quiet_lightning()
    torch.backends.cudnn.benchmark = True
    rounding = products_in_float32(args.precision, args.compile)
    with rounding:
        rate = operations_per_s(args)
        bare, lightning = [], []
        for _ in range(args.rounds):
            bare.append(bare_epoch(args))
            lightning.append(lightning_epoch(args))
        rate = max(rate, operations_per_s(args))
    where = (
        torch.cuda.get_device_name() if torch.cuda.is_available() else f"{torch.get_num_threads()} threads"
    )
    print(
        f"{args.model} {args.precision} batch {args.batch}, {args.rounds} rounds of {args.steps} steps, {where}"
    )
    for name, values in (("bare loop", bare), ("Lightning loop", lightning)):
        spread = f"{min(values):,.0f} to {max(values):,.0f}"
        print(f"{name:15} {statistics.median(values):8,.0f} images/s   ({spread})")
    if isinstance(rounding, ProductsInFloat32):
        few = argparse.Namespace(**{**vars(args), "steps": 3, "warmup": 1})
        own = bare_epoch(few)
        print(
            f"{'torch kernels':15} {own:8,.1f} images/s   (of bfloat16, in the bare loop, {few.steps} steps)"
        )
    floor = rate / operations(args)
    print(f"{'floor':15} {floor:8,.0f} images/s   ({rate / 1e12:,.2f} TFLOP/s of a matrix product)")
    print(f"{'of the floor':15} {statistics.median(lightning) / floor:8.3f}")
    ratios = [b / a for a, b in zip(bare, lightning, strict=True)]
    print(
        f"{'ratio':15} {statistics.median(ratios):8.3f}            ({min(ratios):.3f} to {max(ratios):.3f})"
    )


if __name__ == "__main__":
    main()
