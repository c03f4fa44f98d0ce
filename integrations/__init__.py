"""Adapters of encoders to other systems: Qdrant, LangChain, LlamaIndex, sentence-transformers."""
