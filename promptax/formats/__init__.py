"""What is in files that others made: GGUF, safetensors, tokenizers."""
