"""What stands on a disk, whole or not at all: atomic writes, the cache, downloads."""
