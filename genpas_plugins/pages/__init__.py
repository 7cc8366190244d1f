"""The HTML reports: figures in, one self-contained page out."""
