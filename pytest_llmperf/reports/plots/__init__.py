"""Drawings of what was measured, each an SVG in one string; ``style.py`` has the style sheet that they share."""
