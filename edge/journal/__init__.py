"""The gateway's memory: the only SQLite file, its one writer, and the marks that outlive it."""
