"""Prices, as a project states them."""
