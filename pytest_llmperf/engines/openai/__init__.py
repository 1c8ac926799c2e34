"""The engine `openai`: any OpenAI-compatible server that already runs."""
