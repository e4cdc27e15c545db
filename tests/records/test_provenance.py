"""Provenance names code, libraries and machine, and nothing that tells whose machine it is."""

import platform
import subprocess

import torch

from cimlab.records import provenance


def test_code_version_names_the_commit_where_there_is_one(monkeypatch) -> None:
    monkeypatch.setattr(
        provenance, "_git", lambda _, *words: "abc123" if words[0] == "rev-parse" else " M a.py"
    )
    assert provenance.code_version() == {
        "version": provenance.metadata.version("cimlab"), "git_commit": "abc123", "git_changed": True,
    }  # fmt: skip


def test_without_git_the_commit_is_unknown_and_nothing_fails(monkeypatch) -> None:
    def missing(*_: object, **__: object) -> None:
        raise FileNotFoundError("git")

    monkeypatch.setattr(subprocess, "run", missing)
    assert provenance.code_version()["git_commit"] is None
    assert provenance.code_version()["git_changed"] is None


def test_versions_are_those_of_the_libraries_in_use() -> None:
    assert provenance.package_versions()["torch"].split("+")[0] == torch.__version__.split("+")[0]
    assert set(provenance.package_versions()) <= set(provenance.PACKAGES)


def test_the_machine_is_described_without_its_name() -> None:
    found = provenance.machine()
    assert found["python"] == platform.python_version()
    assert found["cores"] >= 1
    assert found["memory_bytes"] > 2**28
    assert not platform.node() or platform.node() not in str(found)


def test_a_tree_that_is_not_installed_says_so(monkeypatch) -> None:
    def missing(name: str) -> str:
        raise provenance.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(provenance.metadata, "version", missing)
    assert provenance.code_version()["version"] == "not installed"
    assert provenance.package_versions() == {}
