"""Loads at several rates: a search for the highest one that an engine holds, and sweeps."""
