"""Keeps keys out of what pytest itself prints and writes."""
