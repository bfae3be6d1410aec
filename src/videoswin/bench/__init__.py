"""Time and memory beside other implementations."""
