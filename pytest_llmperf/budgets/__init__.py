"""Budgets and how they are judged."""
