"""Workloads from files: every format of recorded prompts, chats and traces, told apart by content."""
