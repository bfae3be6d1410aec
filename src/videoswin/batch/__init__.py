"""Any number of videos, through kills and restarts, into one table."""
