"""Budgets and how they are judged: pure functions, no pytest."""
