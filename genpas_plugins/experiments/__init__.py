"""One way to train a table: methods, cells, one run, report and plots. It may import the adapters."""
