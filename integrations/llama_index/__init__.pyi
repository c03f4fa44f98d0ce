from .embedding import DecantEmbedding as DecantEmbedding
from .vector_store import DecantVectorStore as DecantVectorStore
