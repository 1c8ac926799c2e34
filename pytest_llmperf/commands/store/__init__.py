"""``pytest-llmperf store``: the actions on stored runs, one file each."""
