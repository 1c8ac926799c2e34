"""The store that a command works on."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pytest_llmperf.baselines.store import DEFAULT_FOLDER, Store
from pytest_llmperf.commands.output import complain

if TYPE_CHECKING:
    import argparse


def add_store_option(parser: argparse.ArgumentParser) -> None:
    """Adds ``--store``."""
    parser.add_argument(
        "--store",
        metavar="PATH",
        type=Path,
        help=f"the folder of the stored runs; by default {DEFAULT_FOLDER} here or in the nearest folder above",
    )


def open_store(asked: argparse.Namespace) -> Store:
    """The store that was asked for, or the nearest one from here upwards."""
    return Store(asked.store or find_folder(Path.cwd()))


def find_folder(start: Path) -> Path:
    """``.llmperf`` in ``start`` or in the nearest folder above; in ``start``, if there is none."""
    folders = [folder / DEFAULT_FOLDER for folder in (start, *start.parents)]
    return next((folder for folder in folders if folder.is_dir()), folders[0])


def tell_faults(*stores: Store) -> None:
    """Names each file that was met and counts for nothing."""
    for store in stores:
        for line in store.faults.values():
            complain(line)
