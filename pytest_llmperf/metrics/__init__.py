"""Metrics: each is defined once, with the function that reads it."""
