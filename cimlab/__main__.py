"""`python -m cimlab` is `cimlab`."""

from cimlab.cli.main import main

if __name__ == "__main__":
    main()
