"""Training with torch: tasks, models, smaller models, local training, worker processes.

`data`, `pool` and `modelfile` can be imported without torch; the workers of a pool import it.
"""
