"""Weights on disk: read with suspicion, recognised by their tensors, written whole or not at all."""
