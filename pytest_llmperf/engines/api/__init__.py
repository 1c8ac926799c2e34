"""What an engine is: the classes that an engine of another package subclasses."""
