"""What commands print: lines and tables on stdout, complaints on stderr."""

from __future__ import annotations

import shutil
import sys
from typing import TYPE_CHECKING

from pytest_llmperf.reports.text import align_columns, knows_unicode, to_ascii, to_one_line

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_WIDTH_OF_A_FILE = 200


def print_lines(lines: Iterable[str]) -> None:
    """Prints lines, in ASCII where stdout knows no more."""
    for line in lines:
        print(line if knows_unicode(sys.stdout.encoding) else to_ascii(line))


def print_table(rows: Sequence[Sequence[str]], aligns: str) -> None:
    """Prints rows as columns, one of ``<`` and ``>`` in ``aligns`` for each; the first one is shortened to fit."""
    width = shutil.get_terminal_size((_WIDTH_OF_A_FILE, 24)).columns
    print_lines(align_columns([[to_one_line(cell) for cell in row] for row in rows], aligns, width))


def complain(text: str) -> None:
    """Prints one line on stderr."""
    line = to_one_line(text)
    print(line if knows_unicode(sys.stderr.encoding) else to_ascii(line), file=sys.stderr)
