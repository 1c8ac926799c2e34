"""``--llmperf-calibrate=N``: runs the suite several times against itself and learns how much its numbers differ."""
