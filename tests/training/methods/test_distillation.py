"""Soft targets against a loop over images and classes, a teacher that never moves, and runs that listen to it."""

import math
from pathlib import Path

import pytest
import torch
from conftest import Cimlab, one_line
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from cimlab.records.record import RECORD_FILE, RunRecord
from cimlab.training.methods.distillation import Teacher, distillation_loss


def by_hand(student: Tensor, teacher: Tensor, temperature: float) -> float:
    """The loss term by term: T^2 / N sum_n sum_c q log(q / p), p and q softened by T."""
    total = 0.0
    for s, t in zip(student.tolist(), teacher.tolist(), strict=True):
        p = [math.exp(z / temperature) for z in s]
        q = [math.exp(z / temperature) for z in t]
        for i in range(len(s)):
            share = q[i] / sum(q)
            total += share * math.log(share / (p[i] / sum(p)))
    return temperature**2 * total / len(student)


@given(st.integers(1, 4), st.integers(2, 5), st.floats(0.5, 20), st.integers(0, 2**31))
def test_the_loss_is_the_scaled_divergence(batch: int, classes: int, temperature: float, seed: int) -> None:
    student, teacher = torch.randn(2, batch, classes, generator=torch.Generator().manual_seed(seed)) * 3
    expected = by_hand(student.double(), teacher.double(), temperature)
    found = float(distillation_loss(student, teacher, temperature))
    assert found == pytest.approx(expected, rel=1e-3, abs=1e-5 * temperature**2)


def test_a_student_that_agrees_has_no_loss_and_half_precision_is_computed_whole() -> None:
    logits = torch.randn(8, 10).bfloat16()
    assert float(distillation_loss(logits, logits, 4.0)) == pytest.approx(0, abs=1e-6)
    assert distillation_loss(logits, logits, 4.0).dtype == torch.float32


def small_network() -> nn.Sequential:
    layers = (
        nn.Conv2d(3, 4, 3),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.Dropout(0.5),
        nn.Flatten(),
        nn.Linear(144, 5),
    )
    return nn.Sequential(*layers).to(memory_format=torch.channels_last)


def test_a_teacher_stays_as_it_was_while_the_student_learns() -> None:
    network = small_network()
    teacher = Teacher(network, weight=1.0, temperature=2.0)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    images, generator = torch.randn(6, 3, 8, 8), torch.random.get_rng_state()
    hard = torch.zeros(())
    logits = network(images)
    torch.random.set_rng_state(generator)
    teacher.loss(hard, logits, images)
    assert torch.equal(torch.random.get_rng_state(), generator)  # it draws nothing
    loss = teacher.loss(hard, logits, images)
    loss.backward()
    torch.optim.SGD(network.parameters(), lr=0.1).step()
    assert all(torch.equal(value, before[name]) for name, value in teacher.network.state_dict().items())
    weight = teacher.network.get_parameter("0.weight")
    assert weight.is_contiguous(memory_format=torch.channels_last)
    assert weight.grad is None
    assert not torch.equal(network.get_parameter("0.weight"), before["0.weight"])


def test_the_weight_shares_the_loss_between_labels_and_teacher() -> None:
    network = small_network().eval()
    images, student = torch.randn(4, 3, 8, 8), torch.randn(4, 5)
    hard = torch.tensor(1.5)
    soft = float(Teacher(network, weight=1.0, temperature=3.0).loss(hard, student, images))
    mixed = Teacher(network, weight=0.25, temperature=3.0).loss(hard, student, images)
    assert float(mixed) == pytest.approx(0.75 * 1.5 + 0.25 * soft)


def test_a_student_learns_under_autocast() -> None:
    network = small_network()
    teacher = Teacher(network, weight=0.5, temperature=2.0)
    images = torch.randn(4, 3, 8, 8).contiguous(memory_format=torch.channels_last)
    with torch.autocast("cpu", torch.bfloat16):
        logits = network(images)
        loss = teacher.loss(torch.nn.functional.cross_entropy(logits, torch.arange(4)), logits, images)
    loss.backward()
    assert loss.dtype == torch.float32
    assert all(bool(torch.isfinite(p.grad).all()) for p in network.parameters() if p.grad is not None)
    assert network.get_parameter("5.weight").grad is not None


# ---- whole runs ----


def record(folder: Path) -> RunRecord:
    (path,) = folder.glob(f"*/{RECORD_FILE}")
    return RunRecord.read(path)


def test_a_distilled_run_is_another_run_of_the_same_dense_network(train: Cimlab, tmp_path: Path) -> None:
    where = f"paths.dense_dir={tmp_path / 'dense'}"
    train(where, f"paths.output_dir={tmp_path / 'plain'}")
    answer = train("method=[distillation]", where, f"paths.output_dir={tmp_path / 'distilled'}")
    assert answer.code == 0, answer.err
    assert "dense epoch" not in answer.out
    one, other = record(tmp_path / "plain"), record(tmp_path / "distilled")
    assert one.run != other.run
    assert one.accuracy["pruned"] == other.accuracy["pruned"]
    assert one.config["method"] == {}
    settings = other.config["method"]["distillation"]
    assert (settings["weight"], settings["temperature"]) == (0.9, 4.0)
    assert (one.methods, other.methods) == ((), ("distillation",))
    assert other.choices["method"] == "distillation"


def test_a_bad_temperature_is_refused_in_one_line(cimlab: Cimlab) -> None:
    for word, expected in {
        "method.distillation.temperature=0": "method.distillation.temperature=0",
        "method.distillation.weight=1.1": "method.distillation.weight=1.1",
        "+method.distillation.temprature=4": "unknown key method.distillation.temprature",
    }.items():
        answer = cimlab("train", "method=[distillation]", word)
        assert answer.code == 2
        assert expected in one_line(answer.err)
