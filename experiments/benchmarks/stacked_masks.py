"""Many masks of one network: trained as one stacked program, or one network after the other, in one run.

A pruning grid is dozens of retrainings of one network. Stacked, the weights of K networks are one tensor each, and
torch.func.vmap turns every convolution into one grouped convolution; one step then trains all K. Both sides take the
same images, autocast, optimiser and masks (9 % of the weights), and take turns, so that a machine whose speed drifts
slows both. The ratio of the medians is the claim; the losses of the first step are compared, so that both do the
same work. K processes are the third way: `cimlab sweep FILE --jobs=K`.

    python experiments/benchmarks/stacked_masks.py --networks 3                                          # CPU
    python experiments/benchmarks/stacked_masks.py --model resnet18 --batch 512 --steps 60 --warmup 10   # GPU
"""

from __future__ import annotations

import argparse
import copy
import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state, vmap
from torch.nn import functional as F

from cimlab.models.resnet18 import resnet18
from cimlab.models.resnet_cifar import CifarResNet
from cimlab.pruning.masks import MaskHolder, Masks

NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "resnet20": lambda: CifarResNet(depth=20, num_classes=10, in_channels=3),
    "resnet18": lambda: resnet18(num_classes=10, in_channels=3, stem="cifar"),
}
REMAINING = 0.09


def masked(network: nn.Module) -> Masks:
    """A random mask of each convolution, whose other weights are 0 from now on."""
    layers = {name: layer for name, layer in network.named_modules() if isinstance(layer, nn.Conv2d)}
    masks = {name: torch.rand_like(layer.weight) < REMAINING for name, layer in layers.items()}
    MaskHolder(network, masks).hold()
    return masks


def optimiser(weights: list[Tensor]) -> torch.optim.Optimizer:
    return torch.optim.SGD(weights, lr=0.01, momentum=0.9, nesterov=True, weight_decay=5e-4)


class OneByOne:
    """A step of each network in turn."""

    def __init__(self, networks: list[nn.Module], masks: list[Masks]) -> None:
        self.networks = networks
        self.holders = [MaskHolder(network, own) for network, own in zip(networks, masks, strict=True)]
        self.optimisers = [optimiser(list(network.parameters())) for network in networks]

    def step(self, images: Tensor, labels: Tensor) -> Tensor:
        """Losses, shape [networks]."""
        losses = []
        for network, holder, steps in zip(self.networks, self.holders, self.optimisers, strict=True):
            with autocast(images):
                loss = F.cross_entropy(network(images), labels)
            steps.zero_grad()
            loss.backward()
            steps.step()
            holder.hold()
            losses.append(loss.detach())
        return torch.stack(losses)


class Stacked:
    """One step of all networks: weights [networks, ...], the images shared."""

    def __init__(self, networks: list[nn.Module], masks: list[Masks]) -> None:
        self.weights, self.buffers = stack_module_state(networks)
        self.convolutions = [self.weights[f"{name}.weight"] for name in masks[0]]
        stacks = [torch.stack([each[name] for each in masks]) for name in masks[0]]
        self.factors = [torch.empty_like(w).copy_(m) for w, m in zip(self.convolutions, stacks, strict=True)]
        self.optimiser = optimiser(list(self.weights.values()))
        self.skeleton = copy.deepcopy(networks[0]).to("meta")

    def step(self, images: Tensor, labels: Tensor) -> Tensor:
        """Losses, shape [networks]."""

        def loss_of(weights: dict[str, Tensor], buffers: dict[str, Tensor]) -> Tensor:
            return F.cross_entropy(functional_call(self.skeleton, (weights, buffers), (images,)), labels)

        with autocast(images):
            losses = vmap(loss_of)(self.weights, self.buffers)
        self.optimiser.zero_grad()
        losses.sum().backward()
        self.optimiser.step()
        with torch.no_grad():
            torch._foreach_mul_(self.convolutions, self.factors)
        return losses.detach()


def autocast(images: Tensor) -> torch.autocast:
    return torch.autocast(images.device.type, torch.bfloat16)


def now() -> float:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--model", choices=NETWORKS, default="resnet20")
    parser.add_argument("--networks", type=int, default=3, help="how many at once")
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--steps", type=int, default=6, help="steps a round, warm-up included")
    parser.add_argument("--warmup", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    torch.manual_seed(0)
    torch.backends.cudnn.benchmark = True
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    dense = NETWORKS[args.model]().to(device).to(memory_format=torch.channels_last)
    networks = [copy.deepcopy(dense) for _ in range(args.networks)]
    masks = [masked(network) for network in networks]
    images = torch.randn(args.batch, 3, 32, 32, device=device).to(memory_format=torch.channels_last)
    labels = torch.randint(10, (args.batch,), device=device)
    sides = {"stacked": Stacked(networks, masks), "one by one": OneByOne(networks, masks)}
    first = {name: side.step(images, labels) for name, side in sides.items()}
    torch.testing.assert_close(*first.values(), rtol=0.05, atol=0.05)  # bf16, summed in another order
    rates: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(args.rounds):
        for name, side in sides.items():
            for step in range(args.steps):
                if step == args.warmup:
                    started = now()
                side.step(images, labels)
            seen = args.networks * args.batch * (args.steps - args.warmup)
            rates[name].append(seen / (now() - started))
    where = torch.cuda.get_device_name() if device.type == "cuda" else f"{torch.get_num_threads()} threads"
    print(f"{args.model}, {args.networks} masks, batch {args.batch}, {args.rounds} rounds, {where}")
    for name, values in rates.items():
        spread = f"{min(values):,.0f} to {max(values):,.0f}"
        print(f"{name:10} {statistics.median(values):8,.0f} images/s of all networks   ({spread})")
    one, other = (statistics.median(values) for values in rates.values())
    print(f"{'ratio':10} {one / other:8.2f}")


if __name__ == "__main__":
    main()
