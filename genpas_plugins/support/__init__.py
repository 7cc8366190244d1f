"""What every room uses: errors, atomic writes, folder locks, headers of directories, JSON text, the console, doctor."""
