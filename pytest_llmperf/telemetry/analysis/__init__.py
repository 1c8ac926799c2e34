"""Pure functions from records to traces: memory, attribution, energy, conditions."""
