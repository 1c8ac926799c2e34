"""Answers of Anthropic's API, by whichever server gives them."""
