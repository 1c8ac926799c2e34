"""The style sheet that all drawings share, and the colours that it asks for, for a light and for a dark page.

A page has the style sheet once. The colours are custom properties, so that a page may choose others; where two things
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
        "--line3": "#00735a",
        "--line4": "#8a3b8f",
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
        "--line3": "#4cc9a4",
        "--line4": "#d29ae0",
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
.plot{display:block;width:100%;height:auto;font-size:11px;overflow:visible}
.plot path{fill:none;stroke:var(--line);stroke-linecap:butt}
.plot text{fill:var(--dim);font-variant-numeric:tabular-nums}
.plot .e{text-anchor:end}.plot .m{text-anchor:middle}.plot .k{fill:var(--ink)}.plot .h{fill:var(--ink);font-weight:600}
.plot .x{fill:var(--fail);font-weight:600}
.plot .g{stroke:var(--grid)}.plot .a{stroke:var(--dim)}
.plot .l{stroke-width:1.5;stroke-linejoin:round;stroke-linecap:round}
.plot .f{stroke:none;fill:var(--line);fill-opacity:.14}
.plot .i{stroke-width:6;stroke-opacity:.3}
.plot .o{stroke-width:5;stroke-linecap:round}
.plot .c1{stroke:var(--line2);stroke-dasharray:6 2}.plot .c2{stroke:var(--line3);stroke-dasharray:2 2}
.plot .c3{stroke:var(--line4);stroke-dasharray:7 2 2 2}
.plot .o.c1,.plot .o.c2,.plot .o.c3{stroke-dasharray:none}
.plot .L{stroke:var(--limit);stroke-width:1.5;stroke-dasharray:5 3}
.plot .X{stroke:var(--fail);stroke-width:1.5}
.plot .w{stroke:var(--queue)}.plot .p{stroke:var(--prefill)}.plot .d{stroke:var(--decode)}
.plot .s{stroke:var(--warn);stroke-dasharray:2 1.5}
"""
"""What the classes of the drawings look like; made for an element ``svg`` of the class ``plot``."""
