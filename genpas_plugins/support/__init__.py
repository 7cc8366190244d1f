"""What every room uses: errors, atomic files and the console."""
