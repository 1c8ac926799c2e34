"""Loads that an app under test sends: which part of them is judged."""
