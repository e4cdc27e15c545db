"""The images that `cimlab map` prices a network for: as somebody says, or as a data set has them, which is not read."""

from __future__ import annotations

from dataclasses import asdict
from dataclasses import dataclass as plain_dataclass
from typing import Annotated, Any

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

NOTE = "priced for images of {0} x {1} x {1} and {2} classes: {3}"


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class InputShape:
    """One image, and the classes it is sorted into; None is what the data set has.

    Args:
        channels, size: the image is channels x size x size.
        classes: outputs of the classifier.
    """

    channels: Annotated[int, Field(ge=1)] | None = None
    size: Annotated[int, Field(ge=1)] | None = None
    classes: Annotated[int, Field(ge=1)] | None = None


@plain_dataclass(frozen=True)
class Images:
    """What a network is built and priced for.

    Args:
        channels, size: an image is channels x size x size.
        classes: outputs of the classifier.
        note: these three, and where they are from.
    """

    channels: int
    size: int
    classes: int
    note: str

    @property
    def shape(self) -> tuple[int, int, int]:
        """Of one image."""
        return self.channels, self.size, self.size


def images_of(asked: InputShape, data: dict[str, Any], choice: str, extensions: list[str]) -> Images:
    """The images asked for; what nobody says is as the data set has it.

    Args:
        asked: what is said of them.
        data: a data set's configuration; it is built only where something is not said.
        choice: the data set's name.
        extensions: packages besides cimlab whose code a configuration may call.

    Raises:
        ConfigError, DataError: there is no such data set, or its classes have to be looked for and are not there.
    """
    from cimlab.config.components import Component

    said = asdict(asked)
    words = [f"input.{name}" for name, value in said.items() if value is not None]
    if None in said.values():
        facts = Component("data", data, extensions).build().facts()
        said = {
            name: fact if value is None else value
            for (name, value), fact in zip(said.items(), facts, strict=True)
        }
        words = [f"data={choice}", *words]
    return Images(**said, note=NOTE.format(*said.values(), ", ".join(words)))
