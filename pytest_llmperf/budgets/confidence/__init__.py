"""How sure a verdict may be: distributions, bounds and effective numbers of samples. Pure functions, without numpy."""
