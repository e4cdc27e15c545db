"""One line of a terminal for one fit: which phase, by which methods, how far, how well."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytorch_lightning as pl
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Column

WORDS = {"dense": "dense training", "retrain": "retraining"}
FIRST = ("validation", "loss", "speed")
"""What an epoch came to, in the order in which it is shown where room is short."""
BAR, TIME = 10, 6
"""Columns that the bar has at least, and the time that is left."""


class PhaseBar(pl.Callback):
    """A line that stays one line at any width.

    Args:
        phase: dense or retrain.
        methods: at work in it.
        later: epochs of the phase after it, which bar and time count in.
        console: where the line stands; standard output, if None.
    """

    def __init__(
        self, phase: str, methods: Sequence[str], later: int = 0, console: Console | None = None
    ) -> None:
        self.words, self.later = WORDS[phase], later
        self.methods = f" ({', '.join(methods)})" if methods else ""
        self.progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=None, table_column=Column(ratio=1, min_width=BAR)),
            TimeRemainingColumn(compact=True),
            TextColumn("{task.fields[told]}", markup=False),
            console=console, expand=True,
        )  # fmt: skip
        self.task = self.progress.add_task(self.words, told="", start=False)

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if not trainer.is_global_zero:
            return
        batches, epochs = int(trainer.num_training_batches), (trainer.max_epochs or 0) + self.later
        self.progress.update(self.task, total=batches * epochs, completed=batches * trainer.current_epoch)
        self.progress.start_task(self.task)
        self.progress.start()

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        where = f"{self.words} {trainer.current_epoch + 1}/{trainer.max_epochs}{self.methods}"
        self.progress.update(self.task, description=self._cut(where))

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self.progress.advance(self.task)

    def tell(self, where: str, words: dict[str, str]) -> None:
        """What the last epoch came to; where the fit is, the line says already."""
        shown = self.progress.tasks[self.task].description
        room = self.progress.console.width - len(shown) - BAR - TIME - 3
        parts = [words[name] for name in FIRST if name in words]
        while parts and len("  ".join(parts)) > room:
            parts.pop()
        self.progress.update(self.task, told="  ".join(parts))

    def _cut(self, where: str) -> str:
        """Where the fit is, in no more than half of the line."""
        most = self.progress.console.width * 9 // 20
        return where if len(where) <= most else f"{where[: most - 1]}…"

    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        self.progress.stop()
