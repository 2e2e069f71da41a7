"""`python -m builder` and the `istio-build` script."""

from builder.cli.main import main

if __name__ == "__main__":
    main()
