"""The tokenizer of a model whose GGUF file is at hand, without the model."""
