"""What lies in a tree of class folders, looked at before anything is trained on it: classes, images, and the rest.

Every file's header and end are read once, side by side; that they were is remembered by names, sizes and times.
"""

from __future__ import annotations

import contextlib
import difflib
import hashlib
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image

from cimlab.data.errors import DataError
from cimlab.data.pictures import SUFFIXES, has_deep_numbers, read_picture
from cimlab.processors import cores
from cimlab.progress import counting

NO_CLASSES = ("__MACOSX", "@eaDir", "$RECYCLE.BIN", "System Volume Information", "lost+found", "__pycache__")
"""Folders that systems make by themselves; hidden ones are none of anybody's classes either."""
NO_FILES = ("thumbs.db", "desktop.ini", "icon\r")
ENDS = {"PNG": b"IEND\xaeB`\x82", "JPEG": b"\xff\xd9"}
"""Format -> the bytes that a whole file ends in; of others, all is decoded."""
READERS = min(32, 4 * cores())
SAMPLED = 1000
"""Files whose bytes tell two folders apart; of all others place and size do, for millions can't be read each time."""


@dataclass
class Tree:
    """The images of one tree of class folders.

    Args:
        root: the folder.
        samples: (file, class number), classes and files in the order of their names.
        classes: names of the class folders.
        hidden: paths of hidden files and folders, which were passed over.
        others: files that are no images, by the end of their name.
    """

    root: Path
    samples: list[tuple[str, int]] = field(default_factory=list)
    classes: list[str] = field(default_factory=list)
    hidden: list[str] = field(default_factory=list)
    others: Counter[str] = field(default_factory=Counter)


def require_folder(root: Path, mend: str = "put images into {}/CLASS/") -> None:
    """Refuse a folder that is not there, with the one beside it whose name is like it, or how to mend it.

    Raises:
        DataError: it is not there.
    """
    if root.is_dir():
        return
    beside = [path.name for path in root.parent.iterdir() if path.is_dir()] if root.parent.is_dir() else []
    near = difflib.get_close_matches(root.name, beside, n=1)
    mend = f"did you mean paths.data_dir={root.parent / near[0]}?" if near else mend.format(root)
    another = "" if near else ", or name another folder with paths.data_dir=FOLDER"
    raise DataError(f"paths.data_dir={root}: no such folder; {mend}{another}")


def scan(root: Path) -> Tree:
    """The class folders and images under `root`.

    Raises:
        DataError: there is no folder, no class, an empty class, or all the classes are one folder further down or up.
    """
    if not root.is_dir():
        raise DataError(
            f"{root} is no tree of class folders: it does not exist; put images into {root}/CLASS/"
        )
    tree, loose = Tree(root), 0
    for entry in sorted(os.scandir(root), key=lambda entry: entry.name):
        if _hidden(entry.name):
            tree.hidden.append(entry.path)
        elif entry.is_dir():
            tree.classes.append(entry.name)
        elif _is_image(entry.name):
            loose += 1
        else:
            tree.others[Path(entry.name).suffix.lower()] += 1
    if not tree.classes:
        mend = (
            f"give the folder above, paths.data_dir={root.parent}"
            if loose
            else f"put images into {root}/CLASS/"
        )
        what = f"it holds {loose:,} images itself" if loose else "it has no folders"
        raise DataError(f"{root} is no tree of class folders: {what}; {mend}")
    for number, name in enumerate(tree.classes):
        before = len(tree.samples)
        tree.samples.extend((path, number) for path in _images(root / name, tree))
        if len(tree.samples) == before:
            raise DataError(
                f"{root / name} holds no image; add images, or move the folder out, for it counts as a class"
            )
    _refuse_wrong_height(tree)
    return tree


def _images(folder: Path, tree: Tree) -> Iterator[str]:
    """Image files in a class folder and below it, in order; counts what is passed over."""
    seen: set[str] = set()
    for where, folders, files in os.walk(folder, followlinks=True):
        if os.path.realpath(where) in seen:  # a link back up
            folders.clear()
            continue
        seen.add(os.path.realpath(where))
        kept = sorted(name for name in folders if not _hidden(name))
        tree.hidden.extend(os.path.join(where, name) for name in folders if name not in kept)
        folders[:] = kept
        for name in sorted(files):
            if _hidden(name):
                tree.hidden.append(os.path.join(where, name))
            elif _is_image(name):
                yield os.path.join(where, name)
            else:
                tree.others[Path(name).suffix.lower()] += 1


def fingerprint(root: Path) -> str:
    """Content hash of the images below a folder, wherever it lies: places, sizes, and the bytes of `SAMPLED` files."""
    files = [*_images(root, Tree(root))]
    every, seen = max(1, len(files) // SAMPLED), hashlib.sha256()
    for number, path in enumerate(files):
        with contextlib.suppress(OSError):  # it is told when it is read
            place = Path(os.path.relpath(path, root)).as_posix()
            seen.update(f"{place}\0{os.stat(path).st_size}\0".encode(errors="surrogateescape"))
            seen.update(b"" if number % every else Path(path).read_bytes())
    return seen.hexdigest()


def _hidden(name: str) -> bool:
    """Hidden, as ._1.png and .DS_Store of macOS are, or made by the system."""
    return name.startswith(".") or name in NO_CLASSES or name.lower() in NO_FILES


def _is_image(name: str) -> bool:
    return name.lower().endswith(SUFFIXES)


def _refuse_wrong_height(tree: Tree) -> None:
    """Refuse one class, and classes that are all folders of classes."""
    inner = [class_folders(tree.root / name) for name in tree.classes]
    if len(tree.classes) == 1:
        (name,) = tree.classes
        mend = "add a folder for each other class"
        if len(inner[0]) > 1:
            mend = f"it holds {', '.join(inner[0][:4])}: if these are the classes, paths.data_dir={tree.root / name}"
        raise DataError(f"{tree.root} has one class only, {name}; {mend}")
    direct = any(Path(path).parent.parent == tree.root for path, _ in tree.samples)
    if not direct and len(inner[0]) > 1 and all(folders == inner[0] for folders in inner):
        raise DataError(
            f"{tree.root}: each of {', '.join(tree.classes[:4])} holds the folders {', '.join(inner[0][:4])}, so that "
            "classes seem to be one folder further down; call two of them train and test, or give one, "
            f"paths.data_dir={tree.root / tree.classes[0]}"
        )


def class_folders(folder: Path) -> list[str]:
    """Names of the folders in a folder, without hidden ones, in order."""
    return sorted(entry.name for entry in os.scandir(folder) if entry.is_dir() and not _hidden(entry.name))


def described(trees: Sequence[Tree]) -> str:
    """What was read, and what was not, in one line.

    >>> described([Tree(Path("a"), [("x.png", 0)] * 1200, ["cat", "dog"], ["._x.png"])])
    '2 classes, 1,200 images, 1 hidden file passed over (cannot be read as an image)'
    >>> described([Tree(Path("a"), [("x.png", 0)] * 1200, ["cat", "dog"], others=Counter({".txt": 2}))])
    '2 classes, 1,200 images, 2 files that are no images (.txt) passed over'
    """
    images = sum(len(tree.samples) for tree in trees)
    hidden = [path for tree in trees for path in tree.hidden]
    others = sum((tree.others for tree in trees), Counter())
    parts = [f"{len(trees[0].classes):,} classes", f"{images:,} images"]
    if hidden:
        parts.append(f"{len(hidden):,} hidden file{'s' * (len(hidden) > 1)} passed over{_of_hidden(hidden)}")
    if others:
        ends = " ".join(end or "without an end" for end, _ in others.most_common(4))
        are = "files that are no images" if others.total() > 1 else "file that is no image"
        parts.append(f"{others.total():,} {are} ({ends}) passed over")
    return ", ".join(parts)


def _of_hidden(paths: Sequence[str]) -> str:
    """Whether images are lost with hidden files; nothing is said of folders."""
    if any(map(os.path.isdir, paths)):
        return ""
    images = sum(map(_has_header, paths))
    return f" ({images:,} of them an image)" if images else " (cannot be read as an image)"


def require_whole(trees: Iterable[Tree]) -> None:
    """Look at the header and the end of every image, unless that was done and no file has changed since.

    Raises:
        DataError: a file is no image, or is not whole; the first of them, and how many there are.
    """
    files = [path for tree in trees for path, _ in tree.samples]
    memory = _memory(files)
    if memory is not None and memory.exists():
        return
    broken = []
    with ThreadPoolExecutor(READERS) as readers, counting("images looked at", len(files)) as done:
        for complaint in readers.map(_complaint, files, chunksize=16):
            done(1)
            broken += [complaint] if complaint else []
    if broken:
        more = f" ({len(broken):,} of {len(files):,} images can't be used)" if len(broken) > 1 else ""
        raise DataError(f"{broken[0]}{more}")
    if memory is not None:
        with contextlib.suppress(OSError):  # then they are looked at again
            memory.parent.mkdir(parents=True, exist_ok=True)
            memory.touch()


def _complaint(path: str) -> str | None:
    """What is wrong with a file, or None."""
    try:
        with Image.open(path) as picture:
            end = ENDS.get(picture.format or "")
            if end is None or has_deep_numbers(picture) or not _ends_in(path, end):
                read_picture(path)
    except DataError as problem:
        return str(problem)
    except Exception:  # whatever a damaged header makes the readers throw
        try:
            read_picture(path)
        except DataError as problem:
            return str(problem)
    return None


def _has_header(path: str) -> bool:
    """Whether a hidden file begins as an image does, which what macOS keeps beside one does not."""
    try:
        with Image.open(path):
            return True
    except Exception:  # whatever a foreign file makes the readers throw
        return False


def _ends_in(path: str, end: bytes) -> bool:
    with open(path, "rb") as file:
        file.seek(0, os.SEEK_END)
        file.seek(max(0, file.tell() - len(end)))
        return file.read() == end


def _memory(files: list[str]) -> Path | None:
    """A file that is there once exactly these images were looked at; None where nothing can be remembered."""
    seen = hashlib.sha256()
    try:
        cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        for path in files:
            state = os.stat(path)
            seen.update(
                f"{os.path.realpath(path)}\0{state.st_size}\0{state.st_mtime_ns}\0".encode(
                    errors="surrogateescape"
                )
            )
    except (OSError, RuntimeError):  # no home, or a file that is gone: it is told when it is read
        return None
    return cache / "cimlab" / "images" / seen.hexdigest()
