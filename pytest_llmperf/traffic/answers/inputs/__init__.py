"""Answers to requests that give no text: embeddings, ranks and scores."""
