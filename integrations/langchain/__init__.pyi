from .embeddings import DecantEmbeddings as DecantEmbeddings
from .reranker import DecantReranker as DecantReranker
from .retriever import DecantRetriever as DecantRetriever
from .sparse_embeddings import BM25SparseEmbeddings as BM25SparseEmbeddings
from .sparse_embeddings import DecantSparseEmbeddings as DecantSparseEmbeddings
from .vector_store import DecantVectorStore as DecantVectorStore
