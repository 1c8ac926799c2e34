"""Workloads: the prompts of a load, their lengths, and the files that hold them."""
