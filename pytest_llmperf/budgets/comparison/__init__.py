"""How a value is compared with a baseline: the runs before it, or another engine of the same session."""
