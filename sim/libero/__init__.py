"""LIBERO's world: the benchmark's tasks, its assets, the environment, its control step and its rendering."""
