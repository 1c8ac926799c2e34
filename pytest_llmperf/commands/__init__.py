"""The commands of ``pytest-llmperf``, one file each with ``add_parser`` and ``run``; ``__main__`` joins them."""
