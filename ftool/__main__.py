"""`python -m ftool`, also what torchrun and `accelerate launch -m ftool` start."""

from ftool.cli import main

if __name__ == "__main__":
    main()
