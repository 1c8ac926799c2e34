"""Answers of llama.cpp's own API."""
