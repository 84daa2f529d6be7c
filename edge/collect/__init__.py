"""When meters are read, and what becomes of what they say."""
