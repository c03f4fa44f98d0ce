from .embedding import DecantEmbedding as DecantEmbedding
from .rerank import DecantRerank as DecantRerank
from .vector_store import DecantVectorStore as DecantVectorStore
