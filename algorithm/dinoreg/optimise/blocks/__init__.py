"""Data terms of many channels within the memory there is."""
