"""What a model expects next at fixed positions of a text, how two engines differ in it, and scores of a test."""
