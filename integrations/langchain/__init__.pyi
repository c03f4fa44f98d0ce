from .embeddings import DecantEmbeddings as DecantEmbeddings
from .vector_store import DecantVectorStore as DecantVectorStore
