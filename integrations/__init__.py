"""Where the encoders meet other systems: Qdrant, LangChain, LlamaIndex."""
