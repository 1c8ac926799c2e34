"""The relay between an app under test and the engine, which times the calls of the app."""
