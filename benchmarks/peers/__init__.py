"""The same secure aggregation done by Flower's SecAgg+ and by clip-ref, in one process, in CPU time."""
