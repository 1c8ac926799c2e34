"""The searches for the highest rate and the sweeps of one test."""
