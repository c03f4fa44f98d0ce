"""Read language models from GGUF files, in which llama.cpp keeps them."""
