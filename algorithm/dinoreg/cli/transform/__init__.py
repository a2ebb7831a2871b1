"""`dinoreg transform`: what a transform is, and what can be made of it."""
