"""What runs a graph: the table of providers, their plugins, the machine and its settings."""
