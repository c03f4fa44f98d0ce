"""What a model is measured by: one module a task."""
