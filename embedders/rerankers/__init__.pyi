from .encoder_reranker import activated as activated
