"""The HTML reports: one self-contained page from figures."""
