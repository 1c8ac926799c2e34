"""The store: a folder of plain files, one for each run and fingerprint, that many runs may write at once.

``<store>/<name>/<fingerprint>/<time>-<commit>-<digest>.json``. A file appears whole or not at all and is never changed.
It may be committed, cached by CI, copied, or lie on a share. Hidden files are not looked at.
"""

from __future__ import annotations

import os
import secrets
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from pytest_llmperf.baselines import names
from pytest_llmperf.baselines.errors import StoreError
from pytest_llmperf.baselines.stored_run import (
    StoredRun,
    digest_text,
    parse_run,
    read_commit,
    read_created,
    split_report,
    to_text,
)
from pytest_llmperf.system.files.whole import sync_folder

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

DEFAULT_FOLDER = ".llmperf"
DEFAULT_NAME = "main"
ANCHOR = "anchor"
_DRAFT = ".draft-"
_DRAFTS_KEPT = timedelta(days=1)
_ATTEMPTS = 10


class Store:
    """Stored runs in one folder, which need not exist before the first is saved.

    Attributes:
        path: of the folder.
        faults: one line for each file that was met and is no run that can be read; such files count for nothing.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self.faults: dict[Path, str] = {}
        self._runs: dict[Path, StoredRun | None] = {}

    # ---------------------------------------------------------------------------------------------------- writing

    def save(self, name: str, report: Mapping[str, Any]) -> list[Path]:
        """Stores a run: one file for each fingerprint of its tests. The same report twice is stored once.

        Args:
            name: under which it is found again, such as ``main``.
            report: the JSON report of the run, in full.

        Returns:
            The files; empty if no test has measured anything.

        Raises:
            StoreError: the name is no name, the report is not whole, or the folder cannot be written; nothing is
                stored.
        """
        folder = self.path / names.check_name(name)
        texts = {fingerprint: to_text(part) for fingerprint, part in split_report(report).items()}
        created, commit = read_created(report), read_commit(report)
        files = {
            folder / fingerprint / names.make_file_name(created, commit, digest_text(text)): text
            for fingerprint, text in texts.items()
        }
        for path, text in files.items():
            parse_run(text, path, name, path.parent.name)  # What could not be read later is not written.
        try:
            _write_all(files)
        except OSError as error:
            raise StoreError(f"{self.path}: the run could not be stored: {error.strerror or error}") from error
        return list(files)

    def set_anchor(self, file: Path) -> None:
        """Makes the run of a file the anchor of its name and fingerprint, in place of the one before.

        Raises:
            StoreError: the folder cannot be written.
        """
        self._write(file.with_name(ANCHOR), f"{file.name}\n")

    def remove(self, files: Iterable[Path]) -> None:
        """Removes files of runs, the folders that this leaves empty, and drafts that killed writers left a day ago.

        Raises:
            StoreError: a file cannot be removed.
        """
        folders = set()
        try:
            for path in files:
                path.unlink(missing_ok=True)
                self._runs.pop(path, None)
                folders.add(path.parent)
            for folder in folders:
                self._remove_stale(folder)
        except OSError as error:
            raise StoreError(f"{error.filename}: could not be removed: {error.strerror or error}") from error
        for folder in folders:
            _remove_empty(folder, self.path)

    # ---------------------------------------------------------------------------------------------------- reading

    def names(self) -> list[str]:
        """The names of the stored runs, sorted. Nothing is read but folders.

        Raises:
            StoreError: the store is no folder that can be read.
        """
        return sorted({name for name, _ in self.folders()})

    def folders(self) -> Iterator[tuple[str, str]]:
        """The names and fingerprints that there are runs of, sorted. Nothing is read but folders.

        Raises:
            StoreError: the store is no folder that can be read.
        """
        yield from self._walk(self.path, (), frozenset())

    def find_runs(self, name: str, fingerprint: str, last: int = 20) -> list[StoredRun]:
        """The newest runs of a name and fingerprint, newest first, at most ``last``. No other file is read.

        Raises:
            StoreError: the name is no name.
        """
        found: list[StoredRun] = []
        for path in reversed(self.list_files(name, fingerprint)):
            if len(found) == last:
                break
            if run := self._read_kept(path, name, fingerprint):
                found.append(run)
        return found

    def find_anchor(self, name: str, fingerprint: str) -> StoredRun | None:
        """The run that was marked as anchor, else the oldest that is kept; None if there is none.

        Raises:
            StoreError: the name is no name.
        """
        files = self.list_files(name, fingerprint)
        marked = self.read_anchor_mark(name, fingerprint)
        if marked and marked not in (path.name for path in files):
            mark = self._folder(name, fingerprint) / ANCHOR
            self.faults[mark] = f"{mark}: the run that it names is not there, so the oldest one is the anchor"
        for path in sorted(files, key=lambda path: (path.name != marked, path.name)):
            if run := self._read_kept(path, name, fingerprint):
                return run
        return None

    def read_anchor_mark(self, name: str, fingerprint: str) -> str:
        """The file name of the run that was marked as anchor; empty if none was."""
        mark = self._folder(name, fingerprint) / ANCHOR
        try:
            return mark.read_text(encoding="utf-8").strip()
        except FileNotFoundError:
            return ""
        except (OSError, ValueError) as error:
            self.faults[mark] = f"{mark}: cannot be read: {error}"
            return ""

    def fingerprints(self, name: str) -> dict[str, StoredRun]:
        """The newest run of each fingerprint under a name, by fingerprint.

        Raises:
            StoreError: the name is no name, or the store is no folder that can be read.
        """
        names.check_name(name)
        found = {}
        for other, fingerprint in self.folders():
            if other == name and (runs := self.find_runs(name, fingerprint, last=1)):
                found[fingerprint] = runs[0]
        return found

    def read(self, name: str, fingerprint: str, files: Iterable[Path]) -> Iterator[StoredRun]:
        """The runs in some files of a name and fingerprint, each read when its turn comes and not kept in memory.

        Files that are no run that can be read are left out, and named in ``faults``.
        """
        for path in files:
            if run := self._read(path, name, fingerprint):
                yield run

    def merge(self, other: Store) -> tuple[int, int]:
        """Takes over the runs of another store that are not here yet, and its anchors where this one has none.

        Returns:
            How many runs came in, and how many were here already.

        Raises:
            StoreError: the other folder cannot be read, or this one cannot be written.
        """
        added, present = 0, 0
        for name, fingerprint in other.folders():
            files = other.list_files(name, fingerprint)
            here = {path.name for path in self.list_files(name, fingerprint)}
            new = [path for path in files if path.name not in here]
            present += len(files) - len(new)
            for run in other.read(name, fingerprint, new):
                self._write(self._folder(name, fingerprint) / run.path.name, run.path.read_text(encoding="utf-8"))
                added += 1
            mark = other.read_anchor_mark(name, fingerprint)
            if mark and not self.read_anchor_mark(name, fingerprint):
                self._write(self._folder(name, fingerprint) / ANCHOR, f"{mark}\n")
        return added, present

    # ---------------------------------------------------------------------------------------------------- files

    def _folder(self, name: str, fingerprint: str) -> Path:
        if not names.is_fingerprint(fingerprint):
            raise StoreError(f"{fingerprint!r} is no fingerprint")
        return self.path / names.check_name(name) / fingerprint

    def list_files(self, name: str, fingerprint: str) -> list[Path]:
        """The files of the runs of a name and fingerprint, oldest first. None of them is read.

        Raises:
            StoreError: the name is no name.
        """
        folder = self._folder(name, fingerprint)
        files = []
        for entry in sorted(self._scan(folder)):
            if names.is_file_name(entry):
                files.append(folder / entry)
            elif entry != ANCHOR:
                self.faults[folder / entry] = f"{folder / entry}: is not named as a run is, and counts for nothing"
        return files

    def _write(self, path: Path, text: str) -> None:
        try:
            _write(path, text)
        except OSError as error:
            raise StoreError(f"{path}: could not be written: {error.strerror or error}") from error

    def _walk(self, folder: Path, parts: tuple[str, ...], above: frozenset[str]) -> Iterator[tuple[str, str]]:
        real = os.path.realpath(folder)
        if real in above:  # a link to a folder above itself
            return
        for entry in sorted(self._scan(folder)):
            if not (folder / entry).is_dir():
                continue
            if names.is_fingerprint(entry) and parts:
                yield "/".join(parts), entry
            elif names.is_part(entry):
                yield from self._walk(folder / entry, (*parts, entry), above | {real})

    def _remove_stale(self, folder: Path) -> None:
        """Removes old drafts, and the mark of an anchor that is there no more."""
        oldest = (datetime.now(UTC) - _DRAFTS_KEPT).timestamp()
        for draft in folder.glob(f"{_DRAFT}*"):
            with suppress(FileNotFoundError):  # Its writer has finished meanwhile.
                if draft.lstat().st_mtime < oldest:
                    draft.unlink()
        if not any(names.is_file_name(entry) for entry in self._scan(folder)):
            (folder / ANCHOR).unlink(missing_ok=True)

    def _scan(self, folder: Path) -> list[str]:
        """The names in a folder but for hidden ones; none if it is not there."""
        try:
            return [entry for entry in os.listdir(folder) if not entry.startswith(".")]
        except FileNotFoundError:
            return []
        except OSError as error:
            line = f"{folder}: cannot be read: {error.strerror or error}"
            if folder == self.path:
                raise StoreError(line) from error
            self.faults[folder] = line
            return []

    def _read_kept(self, path: Path, name: str, fingerprint: str) -> StoredRun | None:
        if path not in self._runs:
            self._runs[path] = self._read(path, name, fingerprint)
        return self._runs[path]

    def _read(self, path: Path, name: str, fingerprint: str) -> StoredRun | None:
        try:
            text = path.read_text(encoding="utf-8")
            run = parse_run(text, path, name, fingerprint)
            if not names.has_digest(path.name, digest_text(text)):
                raise StoreError("it was changed after it was stored")
            return run
        except FileNotFoundError:
            if path.is_symlink():
                self.faults[path] = f"{path}: is a link to nothing, and counts for nothing"
            return None  # else removed since the folder was listed
        except (OSError, ValueError, StoreError) as error:
            self.faults[path] = f"{path}: counts for nothing: {error}"
            return None


def _write_all(files: Mapping[Path, str]) -> None:
    """Writes all of them, or none."""
    written: list[Path] = []
    try:
        for path, text in files.items():
            is_new = not path.exists()
            _write(path, text)
            if is_new:
                written.append(path)
    except BaseException:
        for path in written:
            with suppress(OSError):
                path.unlink()
        raise


def _write(path: Path, text: str) -> None:
    """Writes a file whole. Its draft has a name of its own, on every host of a share."""
    draft = path.with_name(f"{_DRAFT}{os.getpid()}-{secrets.token_hex(8)}")
    try:
        with _open_new(draft) as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(draft, path)
        sync_folder(path.parent)
    except BaseException:
        with suppress(OSError):
            draft.unlink()
        raise


def _open_new(path: Path) -> TextIO:
    """A new file. Meanwhile other processes may remove its folder, which is empty until the file is there."""
    for _ in range(_ATTEMPTS):
        with suppress(FileNotFoundError, FileExistsError):
            path.parent.mkdir(parents=True, exist_ok=True)
            return path.open("x", encoding="utf-8", newline="\n")
    path.parent.mkdir(parents=True, exist_ok=True)
    return path.open("x", encoding="utf-8", newline="\n")


def _remove_empty(folder: Path, top: Path) -> None:
    while folder != top and not folder.is_symlink():
        try:
            folder.rmdir()
        except OSError:
            return  # It is not empty.
        folder = folder.parent
