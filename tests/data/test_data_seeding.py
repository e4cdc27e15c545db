"""Splits are exact, stratified, seeded and never overlap."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cimlab.data.seeding import mixed_seed, stratified_split


@settings(max_examples=40, deadline=None)
@given(labels=st.lists(st.integers(0, 4), min_size=1, max_size=60), seed=st.integers(0, 9), data=st.data())
def test_split_is_exact_disjoint_and_fair_to_each_class(labels, seed, data):
    held_out = data.draw(st.integers(0, len(labels)))
    tensor = torch.tensor(labels)
    rest, held = stratified_split(tensor, held_out, seed)
    assert len(held) == held_out
    assert sorted([*rest.tolist(), *held.tolist()]) == list(range(len(labels)))
    share = torch.bincount(tensor, minlength=5) * held_out / len(labels)
    assert (torch.bincount(tensor[held], minlength=5) - share).abs().max() < 2


def test_split_of_equal_classes_is_equal():
    labels = torch.arange(10).repeat(50)
    _, held = stratified_split(labels, 100, 3)
    assert torch.bincount(labels[held]).tolist() == [10] * 10


def test_split_depends_on_the_seed_and_refuses_more_than_there_is():
    labels = torch.arange(10).repeat(50)
    first, again, other = (stratified_split(labels, 100, seed)[1] for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    with pytest.raises(ValueError, match="held_out=501 is not allowed; use 0 to 500"):
        stratified_split(labels, 501, 0)


def test_mixed_seeds_differ_and_fit_torch():
    seeds = {mixed_seed(seed, epoch) for seed in range(20) for epoch in range(20)}
    assert len(seeds) == 400
    assert all(0 <= seed < 2**63 for seed in seeds)


def test_mixed_seed_never_changes_between_versions():
    assert mixed_seed(0, 1) == 2918264622725855778
