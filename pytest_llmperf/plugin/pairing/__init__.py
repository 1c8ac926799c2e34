"""A test on two engines by turns, for ``--llmperf-against``: the turns, and what is switched between them."""
