"""One forward pass at one sample and one at two, without arithmetic where the network allows it: what it multiplies.

The network is run as a copy whose parameters have shapes and no values (torch's meta device); a forward pass that reads
values is run on the values there are. The caller's network is not touched.
"""

from __future__ import annotations

import copy
import sys
import traceback
import warnings
from collections.abc import Generator, Mapping, Sized
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import FunctionType, MethodType
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.parameter import UninitializedParameter

import cimlab
from cimlab.errors import CimlabError
from cimlab.network.batch import Batch, call, mapped, on, samples, size, tensors
from cimlab.network.borrowed import unmoved_randomness
from cimlab.network.errors import NetworkError, NetworkShapeError
from cimlab.network.operations import Call, Operations, tensors_in
from cimlab.network.storages import overlapping

SMALL_SAMPLE, SMALL_NETWORK = 3 * 64 * 64, 10**8
"""Values of a sample and parameters up to which a pass is computed: a second at most, where the compiler takes four."""
WRAPPERS = nn.DataParallel, nn.parallel.DistributedDataParallel
DYNAMIC_BATCH = "a dynamic batch, dynamic_shapes=({0: torch.export.Dim('batch')},)"
"""What torch.export has to be given that a network takes one sample, and two."""


def opened(network: nn.Module) -> nn.Module:
    """The network inside torch.compile, DataParallel and DistributedDataParallel."""
    return unwrapped(network)[0]


def unwrapped(network: nn.Module) -> tuple[nn.Module, str]:
    """The network inside its wrappers, and what they put before the names of its layers.

    >>> unwrapped(nn.DataParallel(nn.Linear(1, 1)))
    (Linear(in_features=1, out_features=1, bias=True), 'module.')

    Raises:
        NetworkError: it is none.
    """
    if not isinstance(network, nn.Module):
        kind = type(network).__name__  # torch.export is not imported for a name
        mend = f"its module(), exported with {DYNAMIC_BATCH}" if kind == "ExportedProgram" else "an nn.Module"
        raise NetworkError(f"the network is a {kind}; give {mend}")
    prefix = ""
    while True:
        wrapper = "module" if isinstance(network, WRAPPERS) else "_orig_mod"
        inner = getattr(network, wrapper, None)
        if not isinstance(inner, nn.Module):
            return network, prefix
        network, prefix = inner, f"{prefix}{wrapper}."


def shadow(network: nn.Module, device: str | None = None, own: bool = False) -> nn.Module:
    """A copy in evaluation mode that shares the parameters and has everything else of its own.

    Args:
        network: not changed.
        device: "meta" gives the copy parameters without values instead.
        own: it has parameters of its own, too.
    """
    memo: dict[int, Any] = {}
    for parameter in () if own else network.parameters():
        memo[id(parameter)] = parameter if device is None else _emptied(parameter)
    for module in network.modules():
        for value in (*module._buffers.values(), *vars(module).values()):
            if isinstance(value, Tensor) and id(value) not in memo:
                memo[id(value)] = value.detach().clone() if device is None else _emptied(value)
    compiled = [module for module in network.modules() if _is_compiled(module)]
    memo |= {id(module): UncompiledModule() for module in compiled}
    try:
        for module in compiled:
            memo[id(module)].take(*copy.deepcopy((module._orig_mod, _hooks(module)), memo))
        copied = copy.deepcopy(network, memo).eval()
    except TypeError as problem:  # a lock, an open file, a generator: what is not data
        raise NetworkError(
            f"the network can't be copied ({problem}); let its modules hold nothing but layers, tensors and plain data"
        ) from problem
    for module in network.modules():
        if not _is_compiled(module):
            _uncompile(module, memo)
    return copied


class UncompiledModule(nn.Module):
    """Stands in a copy where the network has a part that torch.compile made, under the same names, and calls it plain.

    A compiled part would compile what looks on and the layers on arrays, and is compiled again with every copy.
    """

    def take(self, plain: nn.Module, hooks: Mapping[str, Any]) -> None:
        """Stand for a compiled part: the module inside it, and the hooks around it."""
        self._orig_mod = plain
        vars(self).update(hooks)

    def forward(self, *inputs: Any, **named: Any) -> Any:
        """What the module inside computes."""
        return self._orig_mod(*inputs, **named)

    def __getattr__(self, name: str) -> Any:
        """What it lacks is taken from the module inside, as a compiled one does, but not how that is copied."""
        if name == "_orig_mod" or name.startswith("__"):
            return super().__getattr__(name)
        return getattr(self._orig_mod, name)

    def __len__(self) -> int:
        """The layers of the sequence inside."""
        return len(cast(Sized, self._orig_mod))


def _is_compiled(module: nn.Module) -> bool:
    """Whether torch.compile made it; asks nobody who would have to import the compiler first, which takes seconds."""
    compiler = sys.modules.get("torch._dynamo.eval_frame")
    return compiler is not None and isinstance(module, compiler.OptimizedModule)


def _hooks(module: nn.Module) -> dict[str, Any]:
    return {name: value for name, value in vars(module).items() if "_hooks" in name}


def _uncompile(module: nn.Module, copies: Mapping[int, Any]) -> None:
    """Undo torch.compile around methods of a module's copy, which would compile what looks on, and compute the network
    copied from.

    >>> network, copied = nn.Linear(1, 1), nn.Linear(1, 1)
    >>> network.forward = torch.compile(network.forward, backend="eager")
    >>> _uncompile(network, {id(network): copied})
    >>> copied.forward == MethodType(nn.Linear.forward, copied)
    True

    Args:
        module: of the network copied from.
        copies: id of a module -> its copy.
    """
    kinds = [kind for kind in reversed(type(module).__mro__) if kind not in (object, nn.Module)]
    functions = {name: value for kind in kinds for name, value in vars(kind).items()} | vars(module)
    for name, function in functions.items():
        compiled = (
            vars(function).get("_torchdynamo_orig_callable") if isinstance(function, FunctionType) else None
        )
        if compiled is None:
            continue
        # torch puts one more function around its own layers' methods
        method = getattr(compiled, "__wrapped__", None)
        plain = method if isinstance(method, MethodType) else compiled
        if isinstance(plain, MethodType):
            plain = MethodType(plain.__func__, copies.get(id(plain.__self__), plain.__self__))
        elif name not in vars(module):  # a method of its class
            plain = MethodType(plain, copies[id(module)])
        setattr(copies[id(module)], name, plain)


def _emptied(value: Tensor) -> Tensor:
    empty = torch.empty_like(value, device="meta")
    return nn.Parameter(empty, requires_grad=False) if isinstance(value, nn.Parameter) else empty


@dataclass(frozen=True)
class Trace:
    """Every product for one sample, and for two; and the batch norm that alone reads what a module computes."""

    first: list[Call]
    second: list[Call]
    norms: dict[str, str]


def traced(network: nn.Module, batch: Batch) -> Trace:
    """What a network computes of one sample, and of two.

    Args:
        network: left as it is.
        batch: what it is given; its first sample counts.

    Raises:
        NetworkShapeError: the network can't compute such inputs.
        NetworkError: it can't be followed.
    """
    network = opened(network)
    _refuse_unfollowed(network, batch)
    if not size(batch):
        raise NetworkShapeError("the batch is empty; give one sample or more")
    with _refusing_calls_of(network):
        return _traced(network, batch)


def _traced(network: nn.Module, batch: Batch) -> Trace:
    if not _is_small(network, batch):
        try:
            with torch.device("meta"):
                copied = shadow(network, "meta")
                return _passes(copied, on(samples(batch, 1), "meta"), on(samples(batch, 2), "meta"))
        except NetworkError:
            raise
        except Exception:  # values are read, or are needed: whatever is wrong besides shows again below
            pass
    where = next((p.device for p in network.parameters()), torch.device("cpu"))
    real = on(with_values(batch), where)
    try:
        copied = shadow(network)
        return _passes(copied, samples(real, 1), samples(real, 2))
    except CimlabError:
        raise
    except Exception as problem:
        shapes = ", ".join(" x ".join(map(str, part.shape[1:])) for part in tensors(batch))
        kind = "images" if isinstance(batch, Tensor) and batch.is_floating_point() else "inputs"
        reason = _told(problem)
        if reason.startswith("Guard failed"):
            reason += f"; export it with {DYNAMIC_BATCH}"
        if len(tensors(batch)) > 1:
            reason += "; given one and two samples, which lie in dimension 0 of every input as long there as the first"
        raise NetworkShapeError(
            f"the model can't compute {kind} of {shapes} ({reason}); choose a model and data that fit"
        ) from problem


@contextmanager
def _refusing_calls_of(network: nn.Module) -> Generator[None]:
    """Refuse a network whose copy calls layers of the one that it was copied from: they would stay as they are where
    layers are put on arrays or trained.

    Raises:
        NetworkError: it does.
    """
    called: list[str] = []
    with ExitStack() as stack:
        for name, module in network.named_modules():
            note = module.register_forward_pre_hook(partial(_note_call, called, name, module))
            stack.callback(note.remove)
        yield
    if called:
        raise NetworkError(
            f"the forward pass calls {called[0] or 'the network'} by a function that holds it (a lambda, a closure or "
            "a global), which goes on calling it where the network is copied; call it by an attribute of its module, "
            f"as self.{called[0].rpartition('.')[2] or 'layer'}(x)"
        )


def _note_call(called: list[str], name: str, module: nn.Module, caller: nn.Module, _: Any) -> None:
    """A hook, which is copied with its module, notes calls of the one that it was registered on."""
    if caller is module:
        called.append(name)


def _told(problem: Exception) -> str:
    """What a forward pass failed with; where, too, if torch did not say it of its own accord."""
    said = " ".join(str(problem).split())
    if isinstance(problem, RuntimeError | ValueError | AssertionError):
        return said
    frames = traceback.extract_tb(problem.__traceback__)
    libraries = tuple(str(Path(module.__file__).parent) for module in (torch, cimlab))
    own = [frame for frame in frames if not frame.filename.startswith(libraries)] or frames
    return f"{type(problem).__name__}: {said}, {own[-1].filename}:{own[-1].lineno}"


def _refuse_unfollowed(network: nn.Module, batch: Batch) -> None:
    """Refuse what is no input or has no shape, what computes where nothing looks on, and what a copy would part."""
    if any(isinstance(module, torch.jit.ScriptModule) for module in network.modules()):
        raise NetworkError("TorchScript can't be followed; give the nn.Module that it was made from")
    if not isinstance(batch, Tensor | tuple | list | Mapping):
        raise NetworkShapeError(
            f"inputs are a {type(batch).__name__}; give a tensor, a tuple of all arguments, or a dictionary of them by "
            "name (of a loader, what next(iter(loader)) gives, without labels)"
        )
    if lazy := [name for name, p in network.named_parameters() if isinstance(p, UninitializedParameter)]:
        raise NetworkError(f"{lazy[0]} has no shape yet; call the network once, and give it then")
    held = {**dict(network.named_parameters()), **dict(network.named_buffers())}
    _refuse_sparse(held, batch)
    _refuse_overlapping(dict(network.named_parameters()))


def _refuse_overlapping(parameters: Mapping[str, Tensor]) -> None:
    """Refuse two parameters that are one set of numbers: they are two in every copy of the network."""
    if (two := overlapping(parameters)) is None:
        return
    one, other = two
    first, second = parameters[one], parameters[other]
    alike = (first.shape, first.stride()) == (second.shape, second.stride())
    tie, read = (
        f"{other} = {one}",
        f"hold {one} alone and read it both ways, as F.linear(x, self.{one}.t()) does",
    )
    raise NetworkError(
        f"{one} and {other} are two parameters that share values in one storage, and copies of the network part them; "
        + (f"let them be one parameter ({tie})" if alike else read)
    )


def _refuse_sparse(held: Mapping[str, Tensor], batch: Batch) -> None:
    """Refuse sparse tensors, which have no storage."""
    named = {**held, **{f"input {number}": part for number, part in enumerate(tensors(batch))}}
    sparse = [name for name, tensor in named.items() if tensor.layout != torch.strided]
    if sparse:
        raise NetworkError(
            f"products with sparse tensors can't be counted: {', '.join(sparse)}; give them dense, by to_dense(), and "
            "multiply with torch.matmul"
        )


def _is_small(network: nn.Module, batch: Batch) -> bool:
    """Whether arithmetic costs less than going without: the first use of the meta device imports torch's compiler."""
    if not isinstance(batch, Tensor) or not batch.is_floating_point():
        return False
    weights = sum(parameter.numel() for parameter in network.parameters())
    return batch[0].numel() <= SMALL_SAMPLE and weights <= SMALL_NETWORK


def with_values(batch: Batch) -> Batch:
    """Values between 0 and 1 where the caller knows shapes alone."""
    return mapped(batch, lambda part: torch.rand(part.shape, dtype=part.dtype) if part.is_meta else part)


def _passes(network: nn.Module, one: Batch, two: Batch) -> Trace:
    first, norms = _pass(network, one)
    return Trace(first, _pass(network, two)[0], norms)


def _pass(network: nn.Module, batch: Batch) -> tuple[list[Call], dict[str, str]]:
    seen: list[Call] = []
    operations = Operations(network, lambda product, _: seen.append(product))
    with quiet(network), operations.within(tensors(batch)):
        outputs = call(network, batch)
    operations.readers.read("", None, (), tensors_in(outputs))  # by whoever called
    return seen, operations.readers.norms()


@contextmanager
def casting_anew() -> Generator[None]:
    """Within, autocast keeps no cast of a weight, nor takes one from before: where that is from can't be followed."""
    cached = torch.is_autocast_cache_enabled()
    torch.set_autocast_cache_enabled(False)
    try:
        yield
    finally:
        torch.set_autocast_cache_enabled(cached)


@contextmanager
def quiet(network: nn.Module) -> Generator[None]:
    """No gradients, no warnings, no random numbers used up, and no weights that autocast has cast before."""
    with torch.no_grad(), warnings.catch_warnings(), unmoved_randomness(network), casting_anew():
        warnings.simplefilter("ignore")
        yield
