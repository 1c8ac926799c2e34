"""The engines: how each is started, watched and stopped."""
