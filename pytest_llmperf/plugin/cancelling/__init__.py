"""Requests that a test cancels on purpose: the block that expects them, and how soon the server noticed."""
