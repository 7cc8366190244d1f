"""Used by every room: errors, atomic writes, folder locks, directory headers, JSON, the console, the doctor."""
