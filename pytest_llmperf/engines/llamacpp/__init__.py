"""The engine `llamacpp`: llama.cpp's server."""
