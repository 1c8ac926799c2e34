"""Every metric, defined once: name, unit, direction, formula and the function that computes it."""
