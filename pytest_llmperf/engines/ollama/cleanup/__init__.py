"""Leaves a server as it was found: unloads and deletes what tests have put there, even if pytest is killed."""
