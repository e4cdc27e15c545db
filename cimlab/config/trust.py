"""What no configuration file decides, because code would run by it: a file may come from a stranger, the words of the
command line come from the person who runs it.

Hydra calls what its own settings name (callbacks, launchers, handlers of logging) before any of our code sees the
configuration, so its loader is wrapped: every composed configuration passes `refuse_untrusted` before Hydra uses it,
also in the processes of a launcher, which compose their jobs again.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import hydra._internal.hydra as hydra_core
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from cimlab.config.errors import ConfigError, refuse

PLUGINS = {
    "launcher": {
        "hydra._internal.core_plugins.basic_launcher.BasicLauncher",
        "hydra_plugins.hydra_joblib_launcher.joblib_launcher.JoblibLauncher",
        "hydra_plugins.hydra_submitit_launcher.submitit_launcher.LocalLauncher",
        "hydra_plugins.hydra_submitit_launcher.submitit_launcher.SlurmLauncher",
    },
    "sweeper": {"hydra._internal.core_plugins.basic_sweeper.BasicSweeper"},
}
"""What Hydra may call to run a grid."""

BY_HAND = {
    "launcher.setup": "shell commands of a Slurm job",
    "launcher.additional_parameters": "options of sbatch, --wrap among them",
    "job.env_set": "the environment, which decides what programs load and where they send keys",
}
"""Settings of Hydra that only the command line may fill, and what they reach."""

BUILT_BY_NAME = ("formatters", "filters", "handlers")
"""Parts of a logging configuration (Python's dictConfig) that name what is called."""


class TrustingLoader(ConfigLoaderImpl):
    """Hydra's loader of configurations; lets through what files may say, and what the words say besides.

    Args:
        words: the command line.
    """

    def __init__(self, config_search_path: Any, words: tuple[str, ...] = ()) -> None:
        super().__init__(config_search_path)
        self.words = words

    def load_configuration(self, *arguments: Any, **named: Any) -> DictConfig:
        """Compose.

        Raises:
            ConfigError: a file asks for what only the command line may.
        """
        config = super().load_configuration(*arguments, **named)
        refuse_untrusted(config, self.words)
        return config

    def _process_config_searchpath(self, config_name: str | None, parsed_overrides: Any, repo: Any) -> None:
        """Hydra imports a package to look for YAML in it, which runs the package."""
        loaded = None if config_name is None else repo.load_config(config_path=config_name)
        if (
            loaded is not None
            and OmegaConf.is_dict(loaded.config)
            and "hydra.searchpath" not in _keys(self.words)
        ):
            for place in OmegaConf.select(loaded.config, "hydra.searchpath") or ():
                if not str(place).startswith("file://"):
                    refuse("hydra.searchpath", place, "a file may add only file:// folders")
        super()._process_config_searchpath(config_name, parsed_overrides, repo)


@contextmanager
def trusting(words: Iterable[str]) -> Generator[None]:
    """Within, every configuration that Hydra composes is held against the words of the command line."""
    given = tuple(words)

    def loader(config_search_path: Any) -> TrustingLoader:
        return TrustingLoader(config_search_path, given)

    before = hydra_core.ConfigLoaderImpl
    hydra_core.ConfigLoaderImpl = loader  # ty: ignore[invalid-assignment]
    try:
        yield
    finally:
        hydra_core.ConfigLoaderImpl = before


def refuse_untrusted(config: DictConfig, words: Iterable[str]) -> None:
    """Hold a composed configuration against the words of the command line.

    Raises:
        ConfigError: it would call or import what neither cimlab nor the words name.
    """
    words = tuple(words)
    keys = set(_keys(words))
    _refuse_extensions(config, words)
    _refuse_own_file(config, words)
    for kind, allowed in PLUGINS.items():
        _refuse_plugin(config, kind, allowed)
    for name, node in _mapping(config, "hydra.callbacks").items():
        if not _said(f"hydra.callbacks.{name}", keys) and "hydra.callbacks" not in keys:
            refuse(f"hydra.callbacks.{name}", node, "a file may not add callbacks; only the command line may")
    for name, what in BY_HAND.items():
        _refuse_filled(config, name, f"hydra.{name}", keys, what)
    for kind in ("job_logging", "hydra_logging"):
        for part in BUILT_BY_NAME:
            _refuse_filled(config, f"{kind}.{part}", f"hydra.{kind}", keys, "it calls what it names")


def _refuse_filled(config: DictConfig, name: str, said: str, keys: set[str], what: str) -> None:
    value = OmegaConf.select(config, f"hydra.{name}")
    if value not in (None, {}, []) and not _said(said, keys):
        refuse(f"hydra.{name}", value, f"only the command line may set it ({what})")


def _refuse_extensions(config: DictConfig, words: tuple[str, ...]) -> None:
    """`extensions` is the person's word of trust, so a file can't give it."""
    asked = config.get("extensions") if "extensions" in config else None
    names = OmegaConf.to_container(asked, resolve=False) if OmegaConf.is_config(asked) else asked
    opened = _opened(words)
    for name in [names] if isinstance(names, str) else list(names or ()):
        if isinstance(name, str) and name not in opened:  # the schema refuses what is no text
            allowed = f"a file may not open packages; if you trust this one, add extensions=[{name}] yourself"
            refuse("extensions", name, allowed)


def _refuse_own_file(config: DictConfig, words: tuple[str, ...]) -> None:
    """`model.file` is code that runs, so a file can't name it, nor a reference choose it."""
    file = OmegaConf.select(config, "model.file")
    said = [word for word in words if _key(word) == "model.file"]
    if file is not None and (not said or any("${" in word for word in said)):
        refuse(
            "model.file", file, f"a file may not name code; if you trust it, add model.file={file} yourself"
        )


def _opened(words: tuple[str, ...]) -> set[str]:
    """The packages that the command line names; a reference would let a file choose them."""
    names: set[str] = set()
    for word in words:
        if _key(word) != "extensions" or "=" not in word:
            continue
        try:
            override = OverridesParser.create().parse_override(word)
        except HydraException:  # Hydra refuses the word when it composes
            continue
        lists = override.sweep_iterator() if override.is_sweep_override() else iter([override.value()])
        for value in lists:
            names |= {n for n in value if isinstance(n, str)} if isinstance(value, list) else set()
    return {name for name in names if "${" not in name}


def _refuse_plugin(config: DictConfig, kind: str, allowed: set[str]) -> None:
    """A launcher or sweeper that is not among the known ones, or that brings calls and command lines along."""
    node = _mapping(config, f"hydra.{kind}")
    target = node.pop("_target_", None)
    if target is not None and target not in allowed:
        names = sorted(name.rpartition(".")[2] for name in allowed)
        refuse(f"hydra.{kind}._target_", target, f"must be one of Hydra's own: {', '.join(names)}")
    for path, value in _leaves(node, f"hydra.{kind}"):
        if path.endswith("._target_"):
            refuse(path, value, "nothing can be called here")
        if kind == "launcher" and isinstance(value, str) and not value.isprintable():  # lines of a script
            refuse(path, repr(value), "holds characters that can't be printed; take them out")
    for key in node.get("params") or ():
        if kind == "sweeper" and str(key).lstrip("+~").startswith("hydra"):
            refuse("hydra.sweeper.params", key, "an axis can't set Hydra itself; the command line may")


def _mapping(config: DictConfig, path: str) -> dict[str, Any]:
    """A node of the configuration in plain containers; {} if it is none."""
    try:
        node = OmegaConf.select(config, path)
        plain = OmegaConf.to_container(node, resolve=True) if OmegaConf.is_dict(node) else {}
    except OmegaConfBaseException as problem:
        raise ConfigError(f"{path}: {' '.join(str(problem).split())}") from problem
    assert isinstance(plain, dict)
    return {str(key): value for key, value in plain.items()}


def _leaves(node: Any, path: str) -> Iterator[tuple[str, Any]]:
    if isinstance(node, Mapping):
        for key, value in node.items():
            yield from _leaves(value, f"{path}.{key}")
    elif isinstance(node, list):
        for place, value in enumerate(node):
            yield from _leaves(value, f"{path}.{place}")
    else:
        yield path, node


def _key(word: str) -> str:
    """hydra/callbacks@x=y, +hydra.callbacks=y and ~hydra.callbacks are all about hydra.callbacks."""
    return word.lstrip("+~").partition("=")[0].partition("@")[0].replace("/", ".")


def _keys(words: Iterable[str]) -> Iterator[str]:
    return (_key(word) for word in words if not word.startswith("-"))


def _said(path: str, keys: set[str]) -> bool:
    """Whether the command line sets the path or something below it."""
    return any(key == path or key.startswith(f"{path}.") for key in keys)
