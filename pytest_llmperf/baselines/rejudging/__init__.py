"""Measurements as reports keep them: read back, and judged under other limits, without an engine."""
