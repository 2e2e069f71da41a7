"""`python -m builder` and the `istio-build` script."""

from builder.cli import main

if __name__ == "__main__":
    main()
