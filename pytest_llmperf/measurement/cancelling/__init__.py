"""Requests that a test has cancelled on purpose."""
