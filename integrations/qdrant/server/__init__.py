"""The store on a server: Qdrant over REST and gRPC."""
