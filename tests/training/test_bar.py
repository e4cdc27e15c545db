"""The bar of a fit is one line at any width, names phase and methods, and never cuts the accuracy."""

import io
import re
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

from cimlab.training.bar import PhaseBar


@pytest.mark.parametrize("width", [80, 120, 200])
@pytest.mark.parametrize("methods", [(), ("gradual", "reorder", "distillation")])
def test_a_fit_is_one_line(width: int, methods: tuple[str, ...]) -> None:
    out = io.StringIO()
    bar = PhaseBar(
        "retrain", methods, 4, Console(file=out, force_terminal=True, width=width, color_system=None)
    )
    trainer: Any = SimpleNamespace(
        is_global_zero=True, num_training_batches=10, max_epochs=8, current_epoch=2
    )
    module: Any = None
    bar.on_train_start(trainer, module)
    bar.on_train_epoch_start(trainer, module)
    words = {"loss": "loss 1.049", "validation": "validation 78.36 %", "speed": "1,430 images/s"}
    bar.tell("retrain epoch 2/8", words)
    for batch in range(5):
        bar.on_train_batch_end(trainer, module, None, None, batch)
    bar.progress.refresh()
    bar.teardown(trainer, module, "fit")
    lines = [line for line in re.split(r"[\r\n]+", re.sub(r"\x1b\[[0-9;?]*\w", "", out.getvalue())) if line]
    assert all(len(line) <= width for line in lines)
    assert "━" in lines[-1]
    assert "retraining 3/8" in lines[-1]
    assert "validation 78.36 %" in lines[-1]
    assert ("(gradual" in lines[-1]) == bool(methods)
    assert (bar.progress.tasks[0].completed, bar.progress.tasks[0].total) == (25, (8 + 4) * 10)
    if width == 200:
        assert "loss 1.049  1,430 images/s" in lines[-1]
