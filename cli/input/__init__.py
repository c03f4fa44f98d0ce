"""Read the input of commands: texts, tasks, bundles, collections."""
