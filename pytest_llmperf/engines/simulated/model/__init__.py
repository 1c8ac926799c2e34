"""The simulated model: its settings, when its tokens come, and what they say. Nothing here waits or sends."""
