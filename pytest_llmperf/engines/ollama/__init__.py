"""The engine `ollama`: a server of our own or one that already runs."""
