"""clip-ref: the executable specification of CLIP, client-side invariant pruning for secure federated learning."""

__version__ = "0.1.0"
