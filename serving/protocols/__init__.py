"""What clients send and want back: Qdrant's inference, OpenAI's embeddings, TEI's routes.

Each module turns JSON into typed requests for texts, and vectors into the answer. None knows HTTP.
"""
