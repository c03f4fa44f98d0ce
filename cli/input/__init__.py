"""Read what a command is given: texts, tasks, bundles, collections."""
