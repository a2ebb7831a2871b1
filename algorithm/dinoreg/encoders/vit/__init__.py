"""2D vision transformers and their official checkpoints."""
