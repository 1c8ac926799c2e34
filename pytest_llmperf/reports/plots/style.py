"""The style sheet that all drawings share, and the colours that it asks for, for a light and for a dark page.

A page has the style sheet once. The colours are custom properties, so that a page may choose others, and
``--paper`` is that of the page; where two things
must be told apart they differ in form as well: thin, dashed, hatched or crossed.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

LIGHT: Mapping[str, str] = MappingProxyType(
    {
        "--ink": "#1b1f24",
        "--dim": "#57606a",
        "--grid": "#dde2e8",
        "--line": "#0b63a5",
        "--line2": "#b04a00",
        "--line3": "#0f9d58",
        "--line4": "#6a1fb0",
        "--limit": "#b3261e",
        "--fail": "#b3261e",
        "--queue": "#6b7480",
        "--prefill": "#b87300",
        "--decode": "#2f80bd",
        "--warn": "#b04a00",
    }
)
"""For a white background, by custom property."""

DARK: Mapping[str, str] = MappingProxyType(
    {
        "--ink": "#e8ebef",
        "--dim": "#9aa5b1",
        "--grid": "#30363d",
        "--line": "#61b0f0",
        "--line2": "#f09a55",
        "--line3": "#7ee0a0",
        "--line4": "#b266ff",
        "--limit": "#ff7b72",
        "--fail": "#ff7b72",
        "--queue": "#8b96a3",
        "--prefill": "#e0a43a",
        "--decode": "#4a95d0",
        "--warn": "#f09a55",
    }
)
"""For a background of ``#14171b`` or darker, by custom property."""

STYLE = """\
.plot{display:block;width:100%;height:auto;font-size:11px}
.plot path{fill:none;stroke:var(--line)}
.plot text{fill:var(--dim);font-variant-numeric:tabular-nums;\
paint-order:stroke;stroke:var(--paper);stroke-width:3px;stroke-linejoin:round}
.plot .e{text-anchor:end}.plot .m{text-anchor:middle}
.plot .k{fill:var(--ink)}.plot .h{fill:var(--ink);font-weight:600}
.plot .t{fill:var(--limit)}.plot .x{fill:var(--fail);font-weight:600}
.plot .g{stroke:var(--grid)}.plot .a{stroke:var(--dim)}
.plot .l{stroke-width:1.5;stroke-linejoin:round;stroke-linecap:round}
.plot .f{fill:var(--line);fill-opacity:.14}
.plot .f:not(.l){stroke:none}
.plot .i{stroke-width:6;stroke-opacity:.35}
.plot .o{stroke-width:5;stroke-linecap:round}
.plot .c1{stroke:var(--line2)}.plot .c2{stroke:var(--line3)}.plot .c3{stroke:var(--line4)}
.plot .l.c1{stroke-dasharray:7 3}.plot .l.c2{stroke-dasharray:2 3}.plot .l.c3{stroke-dasharray:8 3 2 3}
.plot .n{stroke:var(--dim);stroke-dasharray:1 3}
.plot .L{stroke:var(--limit);stroke-width:1.5;stroke-dasharray:5 3}
.plot .b{stroke:var(--limit);stroke-opacity:.12}
.plot .X{stroke:var(--fail);stroke-width:1.5}
.plot .w{stroke:var(--queue)}.plot .p{stroke:var(--prefill)}.plot .d{stroke:var(--decode)}
.plot .s{stroke:var(--warn);stroke-width:9;stroke-dasharray:2 1.5}
"""
"""What the classes of the drawings look like; made for an element ``svg`` of the class ``plot``."""
