"""Readers of what servers send: one file per protocol."""
