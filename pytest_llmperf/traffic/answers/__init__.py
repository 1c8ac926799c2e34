"""Readers of the answers of servers: one file per protocol."""
