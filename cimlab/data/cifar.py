"""What CIFAR-10 and CIFAR-100 share: checking the files against torchvision's checksums, fetching them whole
or not at all, and reading them. A file that is there but damaged is never overwritten; a person decides."""

import contextlib
import io
import logging
import os
import tarfile
import tempfile
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import Any, ClassVar

import torch

from cimlab.data.errors import DataError
from cimlab.data.resident import Labelled, ResidentDataModule

log = logging.getLogger(__name__)


@dataclass(kw_only=True, eq=False, repr=False)
class Cifar(ResidentDataModule):
    """32 x 32 colour images, 50000 to train and 10000 to test (Krizhevsky, 2009).

    `data_dir` holds torchvision's folder (`source.base_folder`), or the archive (`source.filename`), or gets
    the folder when `download` is true; it may be read-only if the folder is complete.
    """

    download: bool = True
    dataset: ClassVar[str]
    """torchvision's name."""
    in_channels = 3
    image_size = 32

    @property
    def source(self) -> type[Any]:
        """torchvision's class; imported here, for `cimlab map` asks for channels, size and classes alone."""
        from torchvision import datasets

        return getattr(datasets, self.dataset)

    @property
    def folder(self) -> Path:
        """Where the unpacked files are."""
        return Path(self.data_dir) / self.source.base_folder

    def prepare_data(self) -> None:
        """Makes sure that every file is there and whole. Raises DataError where it cannot."""
        missing = self._missing(self.folder)
        if not missing:
            return
        archive = Path(self.data_dir) / self.source.filename
        self._refuse_damaged(archive, self.source.tgz_md5)
        if not archive.exists() and not self.download:
            raise DataError(f"{self.folder / missing[0]} is missing and download is off; {self._remedy()}")
        try:
            self._install(archive)
        except (OSError, HTTPException, RuntimeError, tarfile.TarError) as error:
            reason = " ".join(str(error).split())
            with contextlib.suppress(OSError):  # it holds something
                Path(self.data_dir).rmdir()
            raise DataError(
                f"could not get {self.source.filename} into {self.data_dir}: {reason}; {self._remedy()}"
            ) from error

    def load(self, train: bool) -> Labelled:
        dataset = self.source(self.data_dir, train=train, download=False)
        images = torch.from_numpy(dataset.data).permute(0, 3, 1, 2).contiguous()
        return images, torch.tensor(dataset.targets)

    def _files(self) -> list[tuple[str, str]]:
        """Name and MD5 checksum of every file of the unpacked set."""
        batches = [(name, md5) for name, md5 in self.source.train_list + self.source.test_list]
        return [*batches, (self.source.meta["filename"], self.source.meta["md5"])]

    def _missing(self, folder: Path) -> list[str]:
        """Names of files that are not there. Raises DataError if one is there but damaged."""
        for name, md5 in self._files():
            self._refuse_damaged(folder / name, md5)
        return [name for name, _ in self._files() if not (folder / name).exists()]

    def _refuse_damaged(self, path: Path, md5: str) -> None:
        from torchvision.datasets.utils import check_integrity

        if path.exists() and not check_integrity(str(path), md5):
            raise DataError(
                f"{path} is damaged (its MD5 checksum is not {md5}); move it away, then {self._remedy()}"
            )

    def _remedy(self) -> str:
        source = self.source
        where = f"into {self.data_dir} or name another folder with paths.data_dir=FOLDER"
        return f"put {source.filename} from {source.url} {where}"

    def _install(self, archive: Path) -> None:
        """Unpacks the archive, downloaded if need be, beside the folder; then moves each file in one step.

        A run that is killed half-way, or two that start together, leave no half file under its final name.
        """
        from torchvision.datasets.utils import download_url

        Path(self.data_dir).mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".unpacking-", dir=self.data_dir) as scratch:
            if not archive.exists():
                log.info("downloading %s to %s", self.source.url, self.data_dir)
                with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
                    download_url(self.source.url, scratch, self.source.filename, self.source.tgz_md5)
                archive = Path(scratch) / self.source.filename
            with tarfile.open(archive) as packed:
                packed.extractall(scratch, filter="data")
            unpacked = Path(scratch) / self.source.base_folder
            self.folder.mkdir(exist_ok=True)
            for name, _ in self._files():
                os.replace(unpacked / name, self.folder / name)
