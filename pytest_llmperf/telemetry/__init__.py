"""Measures memory, energy and device state during a test: a sampler process, and traces cut out of its records."""
