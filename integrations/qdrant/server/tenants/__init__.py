"""What a server is sent for a collection with tenants."""
