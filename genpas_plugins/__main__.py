"""`python -m genpas_plugins` is `genpas`."""

from genpas_plugins.cli import main

if __name__ == "__main__":
    main()
