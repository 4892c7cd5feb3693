"""`python -m laneway_operator`."""

from laneway_operator.main import main

if __name__ == "__main__":
    main()
