"""Metrics of a project that are read from metrics pages during a test."""
