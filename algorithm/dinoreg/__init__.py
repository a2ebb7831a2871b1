"""Medical image registration with foundation-model features."""
