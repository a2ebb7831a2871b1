"""The weights of encoders: which are official, where they lie, how they are read and fetched."""
